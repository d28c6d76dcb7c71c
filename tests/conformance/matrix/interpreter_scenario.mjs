// What the code interpreter's JavaScript package can do here with the `base` template; its own template is another's to bring.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const { Sandbox } = await import(pathToFileURL(createRequire(`${process.cwd()}/`).resolve('@e2b/code-interpreter')))
const { version } = JSON.parse(readFileSync(`${process.cwd()}/node_modules/@e2b/code-interpreter/package.json`))

const checks = {
  async create_and_kill() {
    const sandbox = await Sandbox.create('base', { timeoutMs: 60_000 })
    assert.equal(await sandbox.kill(), true)
    assert.equal(await sandbox.isRunning(), false)
  },

  async commands(sandbox) {
    assert.equal((await sandbox.commands.run('echo fine')).stdout, 'fine\n')
  },

  async files(sandbox) {
    await sandbox.files.write('text', 'kept')
    assert.equal(await sandbox.files.read('text'), 'kept')
  },

  async running_code(sandbox) {
    await sandbox.runCode('1 + 1')
  },

  // Its default template is not here, and the answer says so.
  async errors() {
    await assert.rejects(Sandbox.create({ timeoutMs: 60_000 }), /code-interpreter-v1/)
  },
}

const outcomes = {}
const sandbox = await Sandbox.create('base', { timeoutMs: 300_000 })
try {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(sandbox)
      outcomes[name] = 'passed'
    } catch (error) {
      outcomes[name] = `${error.name}: ${error.message}\n${error.stack}`
    }
  }
} finally {
  await sandbox.kill()
}
process.stdout.write(`${JSON.stringify({ release: version, outcomes })}\n`, () => process.exit(0))
