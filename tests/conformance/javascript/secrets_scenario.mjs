// Secrets through the JavaScript SDK, from create to a request that carries one; what was seen goes to standard output as JSON.
// Run by tests/conformance/network: node secrets_scenario.mjs NAME ADDRESS PROXY USER PASSWORD
import { Sandbox, Secret } from 'e2b'

const [key, site, address, username, password] = process.argv.slice(2)
const name = `${key}-js`
const seen = {}
try {
  seen.created = await Secret.create(name, 'first', { metadata: { for: 'tests' } })
  seen.taken = await Secret.create(name, 'again').catch((error) => error.message)
  seen.updated = await Secret.update(name, 'second')
  seen.found = await Secret.getInfo(seen.created.secretId)
  seen.listed = (await Secret.list().nextItems()).map((secret) => secret.name)
  const rules = { 'secure.test': [{ transform: { headers: { Authorization: `Basic ${Secret.fill(name)}` } } }] }
  const sandbox = await Sandbox.create({ timeoutMs: 60_000, network: { egressProxy: { address, username, password }, rules } })
  try {
    seen.answer = (await sandbox.commands.run(`curl -sS --max-time 10 --connect-to ::${site}: https://secure.test/`)).stdout
  } finally {
    await sandbox.kill()
  }
} finally {
  const destroy = Secret.destroy
  seen.deleted = [await destroy.call(Secret, name), await destroy.call(Secret, name)]
}
seen.gone = await Secret.getInfo(name).catch((error) => error.name)
process.stdout.write(JSON.stringify(seen))
