/**
 * The run-out of an optical disc: sectors past the end of its file system that track-at-once writing leaves
 * and no drive can read. They are neither data nor damage.
 */
import { bytesOf, type Area } from '../../common/areas.ts';
import { formatSize } from '../../common/units.ts';

/** Of CD, DVD and Blu-ray (ECMA-119 section 6.1.2). */
export const OPTICAL_SECTOR_BYTES = 2048;
/** The volume descriptors start after 16 sectors (ECMA-119 section 6.2.1). */
export const VOLUME_DESCRIPTOR_OFFSET = 16 * OPTICAL_SECTOR_BYTES;
/**
 * Two run-out sectors and a gap of 150 make 304 KiB; a larger area past the file system may be another
 * session, and data.
 */
const RUN_OUT_BYTES_MAX = 1024 * 1024;

export interface RunOut {
  /** The end of the file system, as isosize(8) prints it. */
  readonly isoSizeBytes: number;
  readonly sizeBytes: number;
}

/**
 * Volume space size times logical block size of a primary volume descriptor (ECMA-119 sections 8.4.8 and
 * 8.4.12), as in isosize(8).
 * @param descriptor the sector at 32768. @returns undefined if it is not such a descriptor.
 */
export function isoSizeOf(descriptor: Buffer): number | undefined {
  const isPrimary = descriptor.length >= 130 && descriptor.toString('latin1', 0, 6) === '\u0001CD001';
  if (!isPrimary) return undefined;
  // Both are stored in both byte orders, little-endian first.
  return descriptor.readUInt32LE(80) * descriptor.readUInt16LE(128);
}

/** @returns undefined if the area past the file system is not run-out. */
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

/** The message if the last of these areas is the run-out; undefined if it is not. */
export function runOutText(
  runOut: RunOut | undefined,
  path: string,
  areas: readonly Area[],
): string | undefined {
  if (runOut === undefined) return undefined;
  const past = areas.filter(([offset]) => offset >= runOut.isoSizeBytes);
  const [offset = 0, length = 0] = past.at(-1) ?? [];
  if (past.length === 0 || offset + length !== runOut.sizeBytes) return undefined;
  const { isoSizeBytes } = runOut;
  return (
    `the last ${formatSize(bytesOf(past))} of ${path} are past the end of the file system ` +
    `(isosize ${isoSizeBytes}): run-out of the disc, not data`
  );
}
