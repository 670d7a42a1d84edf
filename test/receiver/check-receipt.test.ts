/** A disk is compared with its receipt later, by us and by hand. */
import assert from 'node:assert/strict';
import { copyFile, open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { digestNow } from '../../common/digest/digest.ts';
import { writeReceiptFiles } from '../../common/io/receipt-files.ts';
import { makeSigningKey } from '../../common/trust/ssh-signature.ts';
import { checkReceipt } from '../../receiver/check-receipt.ts';
import { sealTransfer } from '../../receiver/transfer/seal.ts';
import { coded } from '../support/coded.ts';
import { BLOCK_BYTES, contentOf, openTransfer, putBlock } from '../support/open-transfer.ts';
import { run } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';

const BLOCK_COUNT = 5;
const key = makeSigningKey(Buffer.alloc(32, 1));

/** The receipt of a copy of five blocks, in `receipt.json`, and the copy, in `disk.img`. */
async function sealedIn(folder: TempDir): Promise<{ receipt: string; disk: string }> {
  await using opened = await openTransfer({ blockCount: BLOCK_COUNT });
  const blocks = Array.from({ length: BLOCK_COUNT }, (_, index) => contentOf(opened.open, index, 1));
  for (let index = 0; index < BLOCK_COUNT; index++) await putBlock(opened, index, 1);
  const digests = Buffer.concat(blocks.map((bytes) => digestNow(bytes)));
  const request = { blockCount: BLOCK_COUNT, root: digestNow(digests) };
  const result = await sealTransfer(opened.transfer, request, { key, clock: systemClock });
  assert(result.outcome === 'sealed');
  const [receipt, disk] = [join(folder.path, 'receipt.json'), join(folder.path, 'disk.img')];
  await writeReceiptFiles(receipt, { ...result.receipt, digests });
  // A larger disk than the source was.
  await writeFile(disk, Buffer.concat([...blocks, Buffer.alloc(BLOCK_BYTES, 7)]));
  return { receipt, disk };
}

test('a disk that is what the receipt says, and one of which blocks were changed', async () => {
  await using folder = await tempDir();
  const { receipt, disk } = await sealedIn(folder);
  const bytes: number[] = [];
  const check = await checkReceipt(receipt, disk, { onProgress: (done) => bytes.push(done) });
  assert.deepEqual(
    [check.different, check.receipt.blockCount, bytes.at(-1)],
    [[], BLOCK_COUNT, check.receipt.size],
  );
  assert.match(check.fingerprint, /^SHA256:/);
  {
    await using file = await open(disk, 'r+');
    for (const index of [1, 2, 4]) await file.write(Buffer.from('x'), 0, 1, index * BLOCK_BYTES + 9);
  }
  assert.deepEqual((await checkReceipt(receipt, disk)).different, [
    [1, 2],
    [4, 1],
  ]);
});

test('the digests can be checked by hand: with sha256sum, and a block with dd', async () => {
  await using folder = await tempDir();
  const { receipt, disk } = await sealedIn(folder);
  const script = `
    sha256sum < receipt.json.digests | cut -c1-64
    tail -c +$((3 * 32 + 1)) receipt.json.digests | head -c 32 | od -An -v -tx1 | tr -d ' \\n'; echo
    dd if="${disk}" bs=${BLOCK_BYTES} skip=3 count=1 status=none | sha256sum | cut -c1-64`;
  const { stdout, status } = await run('bash', ['-c', script], { cwd: folder.path });
  assert.equal(status, 0);
  const [root, listed, read] = stdout.split('\n');
  const { root: named } = JSON.parse(await readFile(receipt, 'utf8')) as { root: string };
  assert.equal(`sha256:${root}`, named);
  assert.equal(listed, read);
  assert.match(listed ?? '', /^[0-9a-f]{64}$/);
});

test('a receipt that is not whole, not signed, or of another disk is refused with a sentence', async () => {
  await using folder = await tempDir();
  const { receipt, disk } = await sealedIn(folder);
  const refused = (message: RegExp, code = 'usage'): object => coded(code as 'usage', { message });
  await assert.rejects(
    checkReceipt(join(folder.path, 'no'), disk),
    refused(/cannot read .*no: no such file/),
  );
  const other = join(folder.path, 'other.json');
  for (const suffix of ['', '.sig', '.digests']) await copyFile(receipt + suffix, other + suffix);
  for (const [right, wrong] of [
    ['"blockCount": 5', '"blockCount": 4'],
    ['"readBack": null', '"readBack": "constructor"'],
  ] as const) {
    await writeFile(other, (await readFile(receipt, 'utf8')).replace(right, wrong));
    await assert.rejects(checkReceipt(other, disk), refused(/it is not the receipt of a copy/));
  }
  await writeFile(other, (await readFile(receipt, 'utf8')).replace('memory', 'Memory'));
  await assert.rejects(checkReceipt(other, disk), refused(/its signature is not valid/));
  await copyFile(receipt, other);
  await writeFile(`${other}.digests`, Buffer.alloc(BLOCK_COUNT * 32));
  await assert.rejects(
    checkReceipt(other, disk),
    refused(/the digest of .* is not the root in the receipt$/),
  );
  await truncate(disk, BLOCK_BYTES);
  await assert.rejects(
    checkReceipt(receipt, disk),
    refused(/it has 65536 bytes .* another disk/, 'target-refused'),
  );
  await assert.rejects(checkReceipt(receipt, folder.path), refused(/it is a directory/, 'target-refused'));
});
