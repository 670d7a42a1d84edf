/** A GUID partition table (UEFI 2.10, section 5), written without sfdisk, which small systems lack. */
import { crc32 } from 'node:zlib';

export const SECTOR_BYTES = 512;
/** Protective MBR, header and entries; the backup at the end of the disk has no MBR. */
const HEAD_SECTORS = 34;
const TAIL_SECTORS = 33;
const HEADER_BYTES = 92;
const ENTRY_COUNT = 128;
const ENTRY_BYTES = 128;
const NAME_CHARACTERS_MAX = 36;

const TYPE_ID = {
  efi: 'c12a7328-f81f-11d2-ba4b-00c93ec93b3b',
  linux: '0fc63daf-8483-4772-8e79-3d69d8477de4',
} as const;

export interface Partition {
  readonly type: keyof typeof TYPE_ID;
  readonly id: string;
  readonly name: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

export interface PartitionTable {
  /** Belongs at offset 0. */
  readonly head: Buffer;
  readonly tail: Buffer;
  readonly tailOffsetBytes: number;
}

/** @param sizeBytes of the disk; like all offsets and sizes, whole sectors. */
export function partitionTable(
  sizeBytes: number,
  diskId: string,
  partitions: readonly Partition[],
): PartitionTable {
  const sectorCount = sizeBytes / SECTOR_BYTES;
  const entries = Buffer.alloc(ENTRY_COUNT * ENTRY_BYTES);
  for (const [index, partition] of partitions.entries()) {
    writeEntry(entries.subarray(index * ENTRY_BYTES, (index + 1) * ENTRY_BYTES), partition);
  }
  const lastSector = sectorCount - 1;
  const tailSector = sectorCount - TAIL_SECTORS;
  const header = (ownSector: number, otherSector: number, entriesSector: number): Buffer =>
    makeHeader({ ownSector, otherSector, entriesSector, lastUsableSector: tailSector - 1 }, diskId, entries);
  return {
    head: Buffer.concat([protectiveMbr(sectorCount), header(1, lastSector, 2), entries]),
    tail: Buffer.concat([entries, header(lastSector, 1, tailSector)]),
    tailOffsetBytes: tailSector * SECTOR_BYTES,
  };
}

/** Keeps tools that know only MBRs from taking the disk for an empty one. */
function protectiveMbr(sectorCount: number): Buffer {
  const mbr = Buffer.alloc(SECTOR_BYTES);
  const entry = mbr.subarray(446, 462);
  entry.set([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
  entry.writeUInt32LE(1, 8);
  entry.writeUInt32LE(Math.min(sectorCount - 1, 0xffff_ffff), 12);
  mbr.set([0x55, 0xaa], 510);
  return mbr;
}

interface HeaderPlace {
  readonly ownSector: number;
  readonly otherSector: number;
  readonly entriesSector: number;
  readonly lastUsableSector: number;
}

function makeHeader(place: HeaderPlace, diskId: string, entries: Buffer): Buffer {
  const header = Buffer.alloc(SECTOR_BYTES);
  header.write('EFI PART', 0, 'latin1');
  header.writeUInt32LE(0x0001_0000, 8);
  header.writeUInt32LE(HEADER_BYTES, 12);
  header.writeBigUInt64LE(BigInt(place.ownSector), 24);
  header.writeBigUInt64LE(BigInt(place.otherSector), 32);
  header.writeBigUInt64LE(BigInt(HEAD_SECTORS), 40);
  header.writeBigUInt64LE(BigInt(place.lastUsableSector), 48);
  header.set(bytesOfId(diskId), 56);
  header.writeBigUInt64LE(BigInt(place.entriesSector), 72);
  header.writeUInt32LE(ENTRY_COUNT, 80);
  header.writeUInt32LE(ENTRY_BYTES, 84);
  header.writeUInt32LE(crc32(entries), 88);
  // Its own checksum, which covers itself as zero.
  header.writeUInt32LE(crc32(header.subarray(0, HEADER_BYTES)), 16);
  return header;
}

function writeEntry(entry: Buffer, { type, id, name, offsetBytes, sizeBytes }: Partition): void {
  entry.set(bytesOfId(TYPE_ID[type]), 0);
  entry.set(bytesOfId(id), 16);
  entry.writeBigUInt64LE(BigInt(offsetBytes / SECTOR_BYTES), 32);
  entry.writeBigUInt64LE(BigInt((offsetBytes + sizeBytes) / SECTOR_BYTES - 1), 40);
  entry.write(name.slice(0, NAME_CHARACTERS_MAX), 56, 'utf16le');
}

/** The first three groups of a GUID are little-endian on disk. */
function bytesOfId(id: string): Buffer {
  const bytes = Buffer.from(id.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}
