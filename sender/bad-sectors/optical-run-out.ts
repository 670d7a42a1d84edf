/**
 * The run-out of an optical disc: sectors behind the end of its file system, which writing track-at-once
 * leaves there and no drive can read. They are no data, and no damage.
 */
import { bytesOf, type Area } from '../../common/areas.ts';
import { formatSize } from '../../common/units.ts';

/** Of CD, DVD and Blu-ray (ECMA-119 section 6.1.2). */
export const OPTICAL_SECTOR_BYTES = 2048;
/** Where the volume descriptors begin: behind 16 sectors (ECMA-119 section 6.2.1). */
export const VOLUME_DESCRIPTOR_OFFSET = 16 * OPTICAL_SECTOR_BYTES;
/**
 * The two run-out sectors and 150 of a gap make 304 KiB; where more lies behind the file system it may be
 * another session, and data.
 */
const RUN_OUT_BYTES_MAX = 1024 * 1024;

export interface RunOut {
  /** End of the file system: what isosize(8) says. */
  readonly isoSizeBytes: number;
  readonly sizeBytes: number;
}

/**
 * Volume space size times logical block size of a primary volume descriptor (ECMA-119 sections 8.4.8 and
 * 8.4.12), as isosize(8) has it.
 * @param descriptor the sector at 32768. @returns undefined where there is no such descriptor.
 */
export function isoSizeOf(descriptor: Buffer): number | undefined {
  const isPrimary = descriptor.length >= 130 && descriptor.toString('latin1', 0, 6) === '\u0001CD001';
  if (!isPrimary) return undefined;
  // Both stand there in both byte orders; the little-endian one comes first.
  return descriptor.readUInt32LE(80) * descriptor.readUInt16LE(128);
}

/** @returns undefined where what lies behind the file system is no run-out. */
export function runOutOf(
  disk: { sizeBytes: number; logicalSectorBytes: number },
  descriptor: Buffer,
): RunOut | undefined {
  const { sizeBytes, logicalSectorBytes } = disk;
  const isoSizeBytes = isoSizeOf(descriptor);
  if (logicalSectorBytes !== OPTICAL_SECTOR_BYTES || isoSizeBytes === undefined) return undefined;
  const restBytes = sizeBytes - isoSizeBytes;
  return restBytes > 0 && restBytes <= RUN_OUT_BYTES_MAX ? { isoSizeBytes, sizeBytes } : undefined;
}

/** What to say when the last of these areas is the run-out; undefined when it isn't. */
export function runOutText(
  runOut: RunOut | undefined,
  path: string,
  areas: readonly Area[],
): string | undefined {
  if (runOut === undefined) return undefined;
  const behind = areas.filter(([offset]) => offset >= runOut.isoSizeBytes);
  const [offset = 0, length = 0] = behind.at(-1) ?? [];
  if (behind.length === 0 || offset + length !== runOut.sizeBytes) return undefined;
  const { isoSizeBytes } = runOut;
  return (
    `the last ${formatSize(bytesOf(behind))} of ${path} lie behind the file system's end ` +
    `(isosize ${isoSizeBytes}): run-out of the disc, not data`
  );
}
