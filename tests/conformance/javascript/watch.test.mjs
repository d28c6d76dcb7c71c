import assert from 'node:assert/strict'
import { test } from 'node:test'

import { FileNotFoundError, FilesystemEventType, FileType, SandboxError } from 'e2b'

import { freshFolder, sharedSandbox, waitUntil } from './support.mjs'

const shared = sharedSandbox()

async function watching(folder, options) {
  const events = []
  const handle = await shared.sandbox.files.watchDir(folder, (event) => { events.push(event) }, options)
  const seen = (name, type) => waitUntil(() => events.some((event) => event.name === name && event.type === type), `${type} of ${name}`)
  return { events, handle, seen }
}

test('write to an existing file', async () => {
  const folder = await freshFolder(shared.sandbox)
  await shared.sandbox.files.write(`${folder}/f`, 'before')
  const watch = await watching(folder)
  await shared.sandbox.files.write(`${folder}/f`, 'after')
  await watch.seen('f', FilesystemEventType.WRITE)
  await watch.handle.stop()
})

test('creation, removal and rename', async () => {
  const folder = await freshFolder(shared.sandbox)
  const watch = await watching(folder)
  await shared.sandbox.files.write(`${folder}/a`, 'x')
  await watch.seen('a', FilesystemEventType.CREATE)
  await shared.sandbox.files.rename(`${folder}/a`, `${folder}/b`)
  await watch.seen('a', FilesystemEventType.RENAME)
  await watch.seen('b', FilesystemEventType.CREATE)
  await shared.sandbox.files.remove(`${folder}/b`)
  await watch.seen('b', FilesystemEventType.REMOVE)
  await watch.handle.stop()
})

test('recursive watch sees what was there and what is made', async () => {
  const folder = await freshFolder(shared.sandbox)
  await shared.sandbox.files.write(`${folder}/nested/file`, 'before')
  const watch = await watching(folder, { recursive: true })
  await shared.sandbox.files.write(`${folder}/nested/file`, 'after')
  await watch.seen('nested/file', FilesystemEventType.WRITE)
  await shared.sandbox.files.makeDir(`${folder}/fresh`)
  await watch.seen('fresh', FilesystemEventType.CREATE)
  await shared.sandbox.files.write(`${folder}/fresh/file`, 'x')
  await watch.seen('fresh/file', FilesystemEventType.WRITE)
  await watch.handle.stop()
})

test('entries come with the events', async () => {
  const folder = await freshFolder(shared.sandbox)
  const watch = await watching(folder, { includeEntry: true, allowNetworkMounts: true })
  await shared.sandbox.files.write(`${folder}/f`, 'x')
  await watch.seen('f', FilesystemEventType.WRITE)
  const { entry } = watch.events.find(({ type }) => type === FilesystemEventType.WRITE)
  assert.deepEqual([entry.name, entry.path, entry.type], ['f', `${folder}/f`, FileType.FILE])
  await watch.handle.stop()
})

test('stopping ends the watch once', async () => {
  const folder = await freshFolder(shared.sandbox)
  const ends = []
  const watch = await watching(folder, { onExit: (error) => { ends.push(error) } })
  await watch.handle.stop()
  await waitUntil(() => ends.length > 0, 'the end of the watch')
  assert.equal(ends.length, 1)
})

test('what cannot be watched', async () => {
  const folder = await freshFolder(shared.sandbox)
  await assert.rejects(watching(`${folder}/missing`), FileNotFoundError)
  await shared.sandbox.files.write(`${folder}/f`, 'x')
  await assert.rejects(watching(`${folder}/f`), SandboxError)
})
