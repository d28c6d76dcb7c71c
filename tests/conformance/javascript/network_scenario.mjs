// Network options through the JavaScript SDK, looked at from inside; what was seen goes to standard output as JSON.
// Run by tests/conformance/network with the addresses of its small internet: node network_scenario.mjs INSIDE.PY SITE OTHER PORT PROXY USER PASSWORD
import { readFileSync } from 'node:fs'

import { ALL_TRAFFIC, Sandbox } from 'e2b'

const [program, site, other, port, address, username, password] = process.argv.slice(2)
const seen = {}
const network = { allowOut: ['site.test'], denyOut: [ALL_TRAFFIC], egressProxy: { address, username, password } }
const sandbox = await Sandbox.create({ timeoutMs: 60_000, network })
try {
  await sandbox.files.write('/home/user/inside.py', readFileSync(program, 'utf8'))
  const look = async (...words) => (await sandbox.commands.run(`python3 inside.py ${words.join(' ')}`)).stdout
  const reaches = async (where) => (await look('tcp', where, port)).startsWith(`hello from ${where}`)
  seen.byName = [await look('http', other, 'site.test'), await look('http', other, 'other.test')]
  seen.created = (await sandbox.getInfo()).network
  await sandbox.updateNetwork({ denyOut: [site] })
  seen.denied = [await reaches(site), await reaches(other)]
  await Sandbox.updateNetwork(sandbox.sandboxId, { allowInternetAccess: false, allowOut: [site] })
  seen.allowed = [await reaches(site), await reaches(other)]
  seen.updated = (await sandbox.getInfo()).network
  await sandbox.updateNetwork({})
  seen.cleared = [await reaches(site), await reaches(other)]
  seen.refused = await sandbox.updateNetwork({ allowOut: ['site.test'] }).catch((error) => error.message)
} finally {
  await sandbox.kill()
}
seen.gone = await Sandbox.updateNetwork(sandbox.sandboxId, {}).catch((error) => error.name)
process.stdout.write(JSON.stringify(seen))
