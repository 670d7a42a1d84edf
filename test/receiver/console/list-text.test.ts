import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listLines, type EntryToList, type TransferToList } from '../../../receiver/console/list-text.ts';

const TRANSFER: TransferToList = {
  state: 'open',
  target: {
    path: '/dev/vdd',
    byId: null,
    description: 'virtio disk',
    serial: 'D1',
    sizeBytes: 20 * 2 ** 30,
  },
  source: {
    description: 'ATA WDC WD10EZEX',
    path: '/dev/sdc',
    model: 'WDC WD10EZEX',
    serial: 'WD-123',
    byId: null,
  },
  sizeBytes: 16 * 2 ** 30,
  blockCount: 4096,
  durableBlocks: 1740,
};
const ENTRY: EntryToList = {
  journal: '/s/journal.db',
  changedMs: Date.UTC(2027, 0, 15, 8, 0, 5, 250),
  processId: 4711,
  isInUse: true,
  transfer: TRANSFER,
};

function lineOf(name: string, transfer: Partial<TransferToList>): string | undefined {
  const lines = listLines({ ...ENTRY, transfer: { ...TRANSFER, ...transfer } });
  return lines.find((line) => line.startsWith(name))?.slice(9);
}

test('a transfer is listed with both disks, its state, its journal and its receiver', () => {
  assert.deepEqual(listLines(ENTRY), [
    'target   /dev/vdd: virtio disk, serial D1, 20 GiB',
    'state    open, 42 %: 1740 of 4096 blocks durable',
    'source   /dev/sdc: ATA WDC WD10EZEX, serial WD-123, 16 GiB',
    'changed  2027-01-15 08:00:05 UTC',
    'journal  /s/journal.db',
    'receiver running, process 4711',
  ]);
  const [last] = listLines({ ...ENTRY, processId: null }).slice(-1);
  assert.equal(last, 'receiver running');
});

test('each state has its words, and 100 % is only for what is sealed', () => {
  for (const [change, text] of [
    [
      { state: 'unclaimed', source: null, sizeBytes: null, blockCount: null, durableBlocks: 0 },
      'waiting for a sender',
    ],
    [{ durableBlocks: 4096 }, 'open, 99 %: 4096 of 4096 blocks durable'],
    [{ blockCount: 0, durableBlocks: 0 }, 'open, 0 %: 0 of 0 blocks durable'],
    [{ blockCount: null, sizeBytes: null }, 'open: 1740 blocks durable, size not known yet'],
    [{ state: 'sealed', durableBlocks: 4096 }, 'sealed: all 4096 blocks'],
  ] as const) {
    assert.equal(lineOf('state', change), text);
  }
  assert.equal(lineOf('source', { source: null }), undefined);
  const pipe = { description: 'standard input', path: '', model: null, serial: null };
  assert.equal(lineOf('source', { source: pipe, sizeBytes: null }), 'standard input');
});

test('what could not be read is listed with the reason', () => {
  const { transfer: _, ...entry } = ENTRY;
  assert.deepEqual(listLines({ ...entry, processId: null, isInUse: false, problem: 'it is damaged' }), [
    'problem  it is damaged',
    'changed  2027-01-15 08:00:05 UTC',
    'journal  /s/journal.db',
    'receiver not running',
  ]);
});
