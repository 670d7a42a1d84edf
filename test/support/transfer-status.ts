/** An answer to GET /transfer with something in every member. */
import type { TransferStatus } from '../../common/protocol/protocol.ts';

export const STATUS: TransferStatus = {
  protocol: 1,
  transferId: 'a-transfer',
  epoch: 'an-epoch',
  state: 'open',
  size: 10_000_001,
  blockSize: 65_536,
  sizeMax: null,
  blockCount: 153,
  digest: 'sha-256',
  digests: ['sha-256', 'blake3'],
  source: { description: 'a stick', path: '/dev/sdc', model: 'Stick', serial: null },
  target: {
    description: 'virtio disk',
    path: '/dev/vdd',
    model: null,
    serial: 'S1',
    byId: '/dev/disk/by-id/virtio-S1',
    size: 20_000_000,
    sectorBytes: 512,
    content: ['gpt partition table'],
  },
  targetMarks: { itself: ['a1'], within: ['b2', 'c3'] },
  blocks: { absent: 100, written: 50, durable: 2, verified: 1 },
  unreadable: [],
  unreadableCount: 0,
  limits: { connections: 256, zeroRanges: 4096, listing: 65_536 },
  encodings: ['zstd', 'gzip'],
};
