// Evaluates requests by an evaluator that is not ours (@cloud-copilot/iam-simulate), each of an administrator within a permissions boundary.
// Standard input: {limits: {name: policy}, requests: [{limit, action, resource, keys, principal}]}. Output: a list of 'Allowed',
// 'ImplicitlyDenied', 'ExplicitlyDenied', or the error of a request that IAM does not know.
import { runSimulation } from '@cloud-copilot/iam-simulate'

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const { limits, requests, account } = JSON.parse(Buffer.concat(chunks).toString())
const all = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }
const found = []
for (const { limit, action, resource, keys, principal } of requests) {
  const response = await runSimulation(
    {
      identityPolicies: [{ name: 'administrator', policy: all }],
      permissionBoundaryPolicies: [{ name: limit, policy: limits[limit] }],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      request: { action, principal, resource: { accountId: account, resource }, contextVariables: keys },
    },
    {},
  )
  found.push(response.resultType === 'error' ? `error: ${response.errors.message}` : response.overallResult)
}
process.stdout.write(JSON.stringify(found))
