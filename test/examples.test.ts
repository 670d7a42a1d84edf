/** The examples of the documents run as they stand, and print what the documents show. */
import assert from 'node:assert/strict';
import { copyFile, glob, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { examplesOf, readDocument, recipe, runExamples, runScript } from './support/documents.ts';
import { prng } from './support/prng.ts';
import { assertEqualFiles, MIB, sendAll, startReceiver, type Receiver } from './support/processes.ts';
import { unlessInstalled } from './support/requires.ts';
import { tempDir, type TempDir } from './support/temp-dir.ts';

/** Five blocks of 4 MiB: the second is zero, the last has 1000 bytes. */
async function writeSource(folder: TempDir): Promise<string> {
  const bytes = prng(1).bytes(16 * MIB + 1000);
  bytes.fill(0, 4 * MIB, 8 * MIB);
  const path = join(folder.path, 'disk.img');
  await writeFile(path, bytes);
  return path;
}

async function claimBlake3(receiver: Receiver): Promise<void> {
  const claim = {
    size: 16 * MIB + 1000,
    blockSize: 4 * MIB,
    source: { description: 'disk.img' },
    digest: 'blake3',
  };
  const response = await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  assert.equal(response.status, 201);
}

const skip = unlessInstalled('b3sum', 'curl', 'openssl', 'ssh-keygen', 'zstd');

test('the examples of PROTOCOL.md write a disk with curl and get the responses shown', { skip }, async () => {
  await using folder = await tempDir();
  const source = await writeSource(folder);
  const target = join(folder.path, 'target.img');
  await using _receiver = await startReceiver({ folder: folder.path, target });
  await runExamples(examplesOf(await readDocument('PROTOCOL.md'), 'protocol'), folder.path);
  await assertEqualFiles(source, target);
});

test(
  'the examples of the guides look into a transfer, put a block, and check a receipt',
  { skip },
  async () => {
    await using folder = await tempDir();
    const source = await writeSource(folder);
    const target = join(folder.path, 'target.img');
    await using receiver = await startReceiver({ folder: folder.path, target });
    await claimBlake3(receiver);
    const guide = await readDocument('docs/guide/curl.md');
    const curl = examplesOf(guide, 'curl');
    await runExamples(curl, folder.path);
    assert.equal(await receiver.durableCount(), 1);

    const verification = await readDocument('docs/guide/verification.md');
    const [send, ...check] = examplesOf(verification, 'receipt');
    assert(send !== undefined && check.length === 1);
    await runExamples([send, ...check], folder.path);
    await assertEqualFiles(source, target);

    // Fetched with curl, the two files are the same, and are checked with the same lines.
    const names = ['receipt.json', 'receipt.json.sig'].map((name) => join(folder.path, name));
    const written = await Promise.all(names.map(async (name) => await readFile(name, 'utf8')));
    for (const name of names) await writeFile(name, '');
    const [setUp] = curl;
    assert(setUp !== undefined);
    await runExamples([setUp, ...examplesOf(guide, 'fetched'), ...check], folder.path);
    assert.deepEqual(await Promise.all(names.map(async (name) => await readFile(name, 'utf8'))), written);
  },
);

test('the lines that check a copy by hand print the root and two equal digests', async () => {
  await using folder = await tempDir();
  const source = await writeSource(folder);
  await using receiver = await startReceiver({
    folder: folder.path,
    target: join(folder.path, 'target.img'),
  });
  const options = ['--digest', 'sha-256', '--block-size', '256KiB', '--ticket-file', receiver.ticketFile];
  const { root } = await sendAll(...options, source);
  await receiver.end('SIGTERM');
  const kept = await Array.fromAsync(glob(join(receiver.stateDir, '*/receipt-1.json.digests')));
  assert(kept[0] !== undefined && kept.length === 1);
  await copyFile(kept[0], join(folder.path, 'receipt.json.digests'));
  const { stdout } = await runScript(await recipe('docs/guide/verification.md', 'digests'), folder.path);
  const [ofAll, listed, read, ...rest] = stdout.trim().split('\n');
  assert.deepEqual([`sha256:${ofAll}`, listed, rest], [root, read, []]);
});

test('the line that changes the address in a ticket leaves the rest of it alone', async () => {
  await using folder = await tempDir();
  const rest = '#pin=sha256//aB+/c=&token=ddt1.e//.x';
  const scriptFor = await recipe('docs/guide/interruptions.md', 'address');
  for (const address of ['203.0.113.7:8443', 'vm.example.org', '[2001:db8::7]:8443']) {
    await writeFile(join(folder.path, 'ticket'), `https://${address}/${rest}\n`);
    await runScript(scriptFor, folder.path);
    const changed = await readFile(join(folder.path, 'ticket.new'), 'utf8');
    assert.equal(changed, `https://198.51.100.9:8443/${rest}\n`);
  }
});
