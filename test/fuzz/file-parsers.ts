/** What files and other programs say: receipts, journals, the JSON of util-linux. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { askTool } from '../../common/disk/block-devices.ts';
import { digestNow } from '../../common/digest/digest.ts';
import { isReadBackMethod } from '../../common/protocol/read-back.ts';
import { writeReceiptFiles } from '../../common/io/receipt-files.ts';
import { armorSshsig, makeSigningKey, publicKeyLine, signSsh } from '../../common/trust/ssh-signature.ts';
import { checkReceipt } from '../../receiver/check-receipt.ts';
import { blocksOf } from '../../receiver/journal/journal-pages.ts';
import { SqliteJournal } from '../../receiver/journal/sqlite-journal.ts';
import { summarizeJournal } from '../../receiver/transfer-summary.ts';
import { fastTempDir } from '../support/open-transfer.ts';
import { mutatedBytes, mutatedJson, mutatedText } from './mutations.ts';
import {
  assertShowable,
  asyncParserProperty,
  parsedLater,
  parserProperty,
  type ParserProperty,
} from './parser-property.ts';

const RECEIPT_NAMESPACE = 'ddt-receipt-v1@dd-transfer';
const KEY = makeSigningKey(Buffer.alloc(32, 7));
const BLOCK_BYTES = 65_536;
const DISK = Buffer.alloc(2 * BLOCK_BYTES + 100, 0x5a);
const DIGESTS = Buffer.concat(
  [0, 1, 2].map((at) => digestNow(DISK.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES))),
);
const RECEIPT = {
  v: 1,
  transferId: 'aa1efd11-b91c-4de8-8fca-faa17d7f5801',
  size: DISK.length,
  blockSize: BLOCK_BYTES,
  blockCount: 3,
  digest: 'sha-256',
  root: `sha256:${digestNow(DIGESTS).toString('hex')}`,
  verified: 'read-back',
  readBack: 'direct',
  unreadable: [],
  sealedAt: '2026-11-28T22:30:05.000Z',
  verifiedAt: '2026-11-28T22:30:05.000Z',
  generation: 1,
  previous: null,
  target: { description: 'a disk', path: '/dev/vdd', model: null, serial: null },
  source: { description: 'a stick', path: '/dev/sdc', model: null, serial: null },
  receiverKey: publicKeyLine(KEY.publicKey, 'ddt-receive'),
};
const CLAIM = {
  size: DISK.length,
  blockSize: BLOCK_BYTES,
  source: { description: 'a stick', path: '/dev/sdc', model: null, serial: null },
};
const IDENTITY = {
  kind: 'device',
  path: '/dev/vdd',
  model: null,
  serial: 'S1',
  wwn: null,
  byId: null,
  sizeBytes: 20_000_000,
  fileId: null,
  logicalSectorBytes: 512,
  description: 'virtio disk',
};

const receipts = fc
  .constantFrom('/dev/vdd', '/dev/\u001b[2Jvdd', '\u202e/dev/vdd', '')
  .map((path) => ({ ...RECEIPT, target: { ...RECEIPT.target, path } }));

/** Anyone can sign a receipt with a key of their own: what is in it is foreign all the same. */
async function checkReceiptFiles(json: string, signature: string, digests: Buffer): Promise<void> {
  await using folder = await fastTempDir();
  const [receipt, disk] = [join(folder.path, 'receipt.json'), join(folder.path, 'disk')];
  await writeReceiptFiles(receipt, { json, signature, digests });
  await writeFile(disk, DISK);
  const codes = ['usage', 'target-refused', 'digest-unsupported'] as const;
  const check = await parsedLater(codes, async () => await checkReceipt(receipt, disk));
  if (check === undefined) return;
  const { target, sealedAt, generation, blockCount, readBack } = check.receipt;
  for (const text of [target.path, sealedAt]) assertShowable(text);
  assert(Number.isSafeInteger(generation) && blockCount === 3);
  assert(readBack === null || isReadBackMethod(readBack));
}

/** A whole journal, closed. @returns its path. */
async function journalIn(folder: string, claim: string, targetIdentity: string): Promise<string> {
  const path = join(folder, 'journal.db');
  const journal = await SqliteJournal.open(path);
  journal.recordDurable([{ index: 1, digest: digestNow(DISK), unreadable: [[512, 512]] }], {
    claim,
    targetIdentity,
  });
  journal.close();
  return path;
}

/** A journal's blocks and properties, as they are read at a start and by `--list`. */
async function checkJournal(path: string): Promise<void> {
  await parsedLater(['state-refused', 'journal-in-use', 'no-space', 'journal-error'], async () => {
    const journal = await SqliteJournal.open(path);
    try {
      for (const { index, digest, unreadable } of journal.blocks()) {
        assert(index >= 0 && digest.length === 32 && Array.isArray(unreadable));
      }
      summarizeJournal(journal);
    } finally {
      journal.close();
    }
  });
}

const SIGNED = armorSshsig(signSsh(KEY, RECEIPT_NAMESPACE, Buffer.from(JSON.stringify(RECEIPT))));
const unreadables = fc.constantFrom(
  [[0, 512]],
  [
    [1024, 512],
    [9000, 1],
  ],
);
const ROWS = [0, 2, 5].map((index) => index.toString(16).padStart(8, '0') + 'ab'.repeat(32)).join('');

export const FILE_PARSERS: readonly ParserProperty[] = [
  asyncParserProperty('signed receipt', 4, mutatedJson(receipts), async (json) => {
    const blob = signSsh(KEY, RECEIPT_NAMESPACE, Buffer.from(json));
    await checkReceiptFiles(json, armorSshsig(blob), DIGESTS);
  }),
  asyncParserProperty(
    'files of a receipt',
    2,
    fc.tuple(mutatedText(fc.constant(SIGNED)), mutatedBytes(fc.constant(DIGESTS))),
    async ([signature, digests]) => {
      await checkReceiptFiles(JSON.stringify(RECEIPT), signature, digests);
    },
  ),
  parserProperty('page of a journal', 20, mutatedJson(unreadables), (areas) => {
    try {
      for (const { unreadable } of blocksOf(ROWS, `{"2":${areas}}`)) {
        assert(Array.isArray(unreadable));
        for (const [offset, length] of unreadable) {
          assert(Number.isSafeInteger(offset) && Number.isSafeInteger(length) && length > 0);
        }
      }
    } catch (error) {
      assert(error instanceof SyntaxError, String(error));
    }
  }),
  asyncParserProperty(
    'properties of a journal',
    2,
    fc.tuple(mutatedJson(fc.constant(CLAIM)), mutatedJson(fc.constant(IDENTITY))),
    async ([claim, targetIdentity]) => {
      await using folder = await fastTempDir();
      await checkJournal(await journalIn(folder.path, claim, targetIdentity));
    },
  ),
  asyncParserProperty(
    'damaged journal',
    2,
    fc.array(fc.tuple(fc.nat(20_000), fc.nat(255)), { maxLength: 12 }),
    async (changes) => {
      await using folder = await fastTempDir();
      const path = await journalIn(folder.path, JSON.stringify(CLAIM), JSON.stringify(IDENTITY));
      const bytes = await readFile(path);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      await writeFile(path, bytes);
      await checkJournal(path);
    },
  ),
  asyncParserProperty(
    'output of util-linux',
    2,
    mutatedJson(fc.constant({ signatures: [{ type: 'ext4', usage: 'filesystem', label: 'data' }] })),
    async (json) => {
      await using folder = await fastTempDir();
      const path = join(folder.path, 'output');
      await writeFile(path, json);
      const rows = await askTool('cat', [path], 'signatures').catch((error: unknown) => {
        assert(error instanceof Error);
        assertShowable(error.message);
        return [];
      });
      for (const row of rows) assert(typeof row === 'object' && row !== null);
    },
  ),
];
