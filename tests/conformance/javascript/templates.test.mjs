// Templates by the official JavaScript client's builder (templates contract §1.2).
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Sandbox, Template, waitForPort } from 'e2b'

const newName = () => `js-${randomUUID().slice(0, 13)}`

/** Builds, gives the lines of the log to what follows, and removes the template. */
async function built(template, name, then, options = {}) {
  const lines = []
  const info = await Template.build(template, name, { onBuildLogs: (entry) => lines.push(entry.message), ...options })
  try {
    await then(info, lines)
  } finally {
    await Sandbox.deleteSnapshot(info.templateId)
  }
}

async function contextDirectory() {
  const directory = await mkdtemp(join(tmpdir(), 'context-'))
  await mkdir(join(directory, 'app'))
  await writeFile(join(directory, 'app', 'main.mjs'), `console.log('hello') // ${randomUUID()}\n`)
  await writeFile(join(directory, 'app', 'data.txt'), 'data')
  return directory
}

test('every instruction does what it says', async () => {
  const name = newName()
  const template = Template({ fileContextPath: await contextDirectory() })
    .fromBaseImage()
    .copy('app', '/srv/app')
    .copy('app/main.mjs', '/srv/bin/', { mode: 0o755 })
    .setEnvs({ COLOUR: 'red' })
    .runCmd('echo "$COLOUR" > /tmp/colour')
    .setWorkdir('/srv/work')
    .makeDir('made')
    .makeSymlink('/srv/app', 'linked')
    .runCmd(['touch old', 'touch gone'])
    .rename('old', 'new')
    .remove('gone')
    .setUser('worker')
  assert.ok(JSON.parse(await Template.toJSON(template)).steps.length > 8)
  await built(template, name, async (info) => {
    assert.equal(info.name, name)
    const sandbox = await Sandbox.create(name, { timeoutMs: 60_000 })
    try {
      const { stdout } = await sandbox.commands.run('whoami; pwd; ls; cat /tmp/colour; node /srv/bin/main.mjs; cat linked/data.txt')
      assert.deepEqual(stdout.split(/\s+/), ['worker', '/srv/work', 'linked', 'made', 'new', 'red', 'hello', 'data'])
    } finally {
      await sandbox.kill()
    }
  })
})

test('what a template starts runs in its sandboxes', async () => {
  const name = newName()
  const template = Template().fromBaseImage().setStartCmd('python3 -m http.server 8321 --directory /etc', waitForPort(8321))
  await built(template, name, async (_, lines) => {
    assert.ok(lines.includes('Template is ready'))
    const sandbox = await Sandbox.create(name, { timeoutMs: 60_000 })
    try {
      assert.equal((await sandbox.commands.run('curl -s localhost:8321/hostname')).stdout, 'e2b.local\n')
    } finally {
      await sandbox.kill()
    }
  })
})

test('a step that fails is told with its output and its place', async () => {
  const lines = []
  const template = Template()
    .fromBaseImage()
    .runCmd('echo fine')
    .runCmd('echo oops >&2; exit 7')
  await assert.rejects(Template.build(template, newName(), { onBuildLogs: (entry) => lines.push(entry.message) }), (error) => {
    assert.match(error.message, /exit status 7/)
    assert.match(error.stack, /templates\.test\.mjs/)
    return true
  })
  assert.ok(lines.includes('[builder 2/2] [stderr]: oops'))
})

test('steps are built once and files uploaded once', async () => {
  const fileContextPath = await contextDirectory()
  const template = () => Template({ fileContextPath }).fromBaseImage().copy('app', '/srv').runCmd('date +%N > /tmp/one')
  const cached = (lines) => lines.filter((line) => /\[builder/.test(line) && !/\] \[std/.test(line)).map((line) => line.startsWith('CACHED'))
  const name = newName()
  await built(template(), name, async (first, lines) => {
    assert.deepEqual(cached(lines), [false, false])
    const again = []
    const second = await Template.build(template(), name, { onBuildLogs: (entry) => again.push(entry.message) })
    assert.equal(second.templateId, first.templateId)
    assert.deepEqual(cached(again), [true, true])
    assert.ok(again.some((line) => /Skipping upload/.test(line)))
    const anew = []
    await Template.build(template(), name, { skipCache: true, onBuildLogs: (entry) => anew.push(entry.message) })
    assert.deepEqual(cached(anew), [false, false])
  })
})

test('builds in the background, names and tags', async () => {
  const name = newName()
  assert.equal(await Template.exists(name), false)
  const started = await Template.buildInBackground(Template().fromBaseImage().runCmd('sleep 1; echo over'), `${name}:v1`)
  let status
  do {
    status = await Template.getBuildStatus(started)
    await new Promise((resolve) => setTimeout(resolve, 100))
  } while (status.status === 'building' || status.status === 'waiting')
  assert.equal(status.status, 'ready')
  assert.equal(await Template.exists(name), true)
  await Template.assignTags(`${name}:v1`, ['stable'])
  assert.deepEqual((await Template.getTags(started.templateId)).map((tag) => tag.tag).sort(), ['stable', 'v1'])
  await Template.removeTags(name, ['v1'])
  assert.deepEqual((await Template.getTags(started.templateId)).map((tag) => tag.tag), ['stable'])
  assert.equal(await Sandbox.deleteSnapshot(started.templateId), true)
})
