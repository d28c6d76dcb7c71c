import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Sandbox } from 'e2b'

import { getByHost, sharedSandbox, waitUntil } from './support.mjs'

const shared = sharedSandbox()

test('web server inside is reached by its host name', async () => {
  const { sandbox } = shared
  await sandbox.files.write('page/index.html', 'a page')
  const server = await sandbox.commands.run('python3 -m http.server 8000', { background: true, cwd: '/home/user/page' })
  await waitUntil(async () => (await getByHost(sandbox.getHost(8000))).status === 200, 'the web server')
  assert.equal((await getByHost(sandbox.getHost(8000))).text, 'a page')
  await server.kill()
})

test('Node server on loopback is reached too', async () => {
  const { sandbox } = shared
  const program = `require('node:http').createServer((q, s) => s.end('from node ' + q.url)).listen(8002, '127.0.0.1')`
  await sandbox.commands.run(`node -e "${program}"`, { background: true })
  await waitUntil(async () => (await getByHost(sandbox.getHost(8002))).status === 200, 'the Node server')
  assert.equal((await getByHost(sandbox.getHost(8002), '/path?x=1')).text, 'from node /path?x=1')
})

test('closed port', async () => {
  const { sandbox } = shared
  const answer = await getByHost(sandbox.getHost(9999))
  assert.equal(answer.status, 502)
  const message = 'The sandbox is running but port is not open'
  assert.deepEqual(JSON.parse(answer.text), { sandboxId: sandbox.sandboxId, message, port: 9999, code: 502 })
})

test('killed sandbox is not found', async () => {
  const sandbox = await Sandbox.create()
  await sandbox.kill()
  const answer = await getByHost(sandbox.getHost(3000))
  assert.equal(answer.status, 502)
  assert.deepEqual(JSON.parse(answer.text), { sandboxId: sandbox.sandboxId, message: 'The sandbox was not found', code: 502 })
})
