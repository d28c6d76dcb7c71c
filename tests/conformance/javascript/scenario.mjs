// One sandbox's life through the JavaScript SDK; what was seen goes to standard output as JSON. Run by tests/conformance/domain.
import { Sandbox } from 'e2b'

const CONTENT = 'sand'.repeat(250_000)

const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
const seen = { domain: sandbox.sandboxDomain, host: sandbox.getHost(8000).replace(sandbox.sandboxId, 'ID') }
try {
  seen.output = (await sandbox.commands.run('echo $((6 * 7))')).stdout
  await sandbox.files.write('/home/user/content', CONTENT)
  seen.intact = (await sandbox.files.read('/home/user/content')) === CONTENT
  const again = await Sandbox.connect(sandbox.sandboxId)
  seen.connected = (await again.commands.run('cat /etc/hostname')).exitCode === 0
  await sandbox.files.write('/home/user/note', 'signed')
  seen.signed = process.argv.includes('--by-name')
    ? await (await fetch(await sandbox.downloadUrl('/home/user/note'))).text()
    : await sandbox.files.read('/home/user/note')
  seen.listed = (await Sandbox.list().nextItems()).some((item) => item.sandboxId === sandbox.sandboxId)
} finally {
  seen.killed = await sandbox.kill()
}
process.stdout.write(JSON.stringify(seen))
