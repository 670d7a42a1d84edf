/**
 * The one file that is all of dd-transfer: which one is for a machine, of this very version. scripts/build
 * makes it, with its version at the end, where it is read without running the file.
 */
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isSea } from 'node:sea';
import { VERSION } from '../protocol/version.ts';

/** As `process.arch` has them. */
export const ARCHITECTURES = ['x64', 'arm64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** The last bytes of the file are a line of text, padded in front. */
const TRAILER_BYTES = 64;
const READ_BYTES = 1024 * 1024;

export interface Program {
  /** Can be read as long as this process runs. */
  readonly path: string;
  readonly architecture: Architecture;
  readonly version: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

export function programName(architecture: Architecture): string {
  return `ddt-linux-${architecture}`;
}

/** What the file of this version ends with. */
export function programTrailer(architecture: Architecture): Buffer {
  return Buffer.from(`dd-transfer ${VERSION} ${architecture}\n`.padStart(TRAILER_BYTES, '\n'));
}

/**
 * The file for machines of this architecture: the one that runs, or one beside it, or of the source tree.
 * @returns undefined where there is none, or only one of another version.
 */
export async function findProgram(architecture: Architecture): Promise<Program | undefined> {
  // The link of this process leads to its file whatever has replaced that meanwhile.
  const path =
    isSea() && process.arch === architecture
      ? `/proc/${process.pid}/exe`
      : join(programFolder(), programName(architecture));
  return await readProgram(path, architecture);
}

/** @returns undefined where there is none, or only one of another version or architecture. */
export async function readProgram(path: string, architecture: Architecture): Promise<Program | undefined> {
  const opened = await open(path).catch(() => undefined);
  if (opened === undefined) return undefined;
  await using file = opened;
  const { size: sizeBytes } = await file.stat();
  const trailer = programTrailer(architecture);
  const end = Buffer.alloc(trailer.length);
  await file.read(end, 0, end.length, Math.max(0, sizeBytes - end.length));
  if (!end.equals(trailer)) return undefined;
  return { path, architecture, version: VERSION, sizeBytes, sha256: await hashFile(file) };
}

function programFolder(): string {
  return isSea() ? dirname(process.execPath) : join(import.meta.dirname, '../../dist');
}

async function hashFile(file: FileHandle): Promise<string> {
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(READ_BYTES);
  for (let offset = 0; ;) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, offset);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(chunk.subarray(0, bytesRead));
    offset += bytesRead;
  }
}
