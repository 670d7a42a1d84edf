/**
 * Images of virtual disks: files that hold a disk in a form of their own. What a file is, is seen from its
 * first bytes; that it is meant, from its name or from the user: the first bytes of a plain image belong to
 * anyone who writes to that disk, and must not decide what is read or written.
 */
import type { FileHandle } from 'node:fs/promises';
import { extname } from 'node:path';
import { TransferError, type ErrorCode } from '../errors.ts';
import { shellWord } from '../text.ts';

/** Of those that qemu-nbd opens, the ones with a magic number at their start. */
export const IMAGE_FORMATS = ['qcow2', 'vmdk', 'vhdx', 'vdi'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** `--format`; raw: the bytes of the file. */
export const FORMAT_CHOICES = ['auto', 'raw', ...IMAGE_FORMATS] as const;
export type FormatChoice = (typeof FORMAT_CHOICES)[number];

/** @throws TransferError `usage`. */
export function parseFormat(text: string, option = '--format'): FormatChoice {
  const choice = FORMAT_CHOICES.find((format) => format === text);
  if (choice !== undefined) return choice;
  throw new TransferError('usage', `${option} ${text} is none of ${FORMAT_CHOICES.join(', ')}`);
}

const HEAD_BYTES = 4096;
const VDI_SIGNATURE = 0xbeda107f;
/** Of a VMDK: its descriptor has a sector or a few. */
const DESCRIPTOR_BYTES_MAX = 64 * 1024;
const SECTOR_BYTES = 512;

/** @returns undefined: no image that is known. */
export function formatOf(head: Buffer): ImageFormat | undefined {
  const begins = (text: string): boolean => head.toString('latin1', 0, text.length) === text;
  if (begins('QFI\u00fb') && head.length >= 8 && head.readUInt32BE(4) >= 2) return 'qcow2';
  if (begins('KDMV') || begins('# Disk DescriptorFile')) return 'vmdk';
  if (begins('vhdxfile')) return 'vhdx';
  return head.length >= 68 && head.readUInt32LE(64) === VDI_SIGNATURE ? 'vdi' : undefined;
}

/** What a name like `disk.qcow2` promises. */
export function formatNamed(path: string): ImageFormat | undefined {
  const extension = extname(path).slice(1).toLowerCase();
  return IMAGE_FORMATS.find((format) => format === extension);
}

export async function headOf(handle: FileHandle): Promise<Buffer> {
  const head = Buffer.alloc(HEAD_BYTES);
  const { bytesRead } = await handle.read(head, 0, HEAD_BYTES, 0);
  return head.subarray(0, bytesRead);
}

export interface FormatQuestion {
  readonly path: string;
  readonly choice: FormatChoice;
  /** What the file begins as; undefined also where there is no file. */
  readonly found: ImageFormat | undefined;
  /** Of a refusal. */
  readonly code: ErrorCode;
  /** Of a file that does not exist: the command that makes such an image there. */
  readonly make?: (format: ImageFormat) => string;
}

/**
 * Which format is meant. Where name and content disagree, nobody but the user knows.
 * @throws TransferError `code`.
 */
export function chooseFormat({ path, choice, found, code, make }: FormatQuestion): ImageFormat | 'raw' {
  if (choice === 'raw') return 'raw';
  const named = formatNamed(path);
  const wanted = choice === 'auto' ? named : choice;
  if (wanted === found) return found ?? 'raw';
  const plain = 'for the bytes of the file: --format raw';
  if (wanted === undefined) {
    const what = `${path} begins as a ${found} image, and its name is not that of one`;
    const hint = `for the disk in it: --format ${found}; ${plain}`;
    throw new TransferError(code, `cannot tell what is meant: ${what}`, { hint });
  }
  const other = found === undefined ? `is not a ${wanted} image` : `is a ${found} image, not ${wanted}`;
  const is = make === undefined ? other : 'does not exist';
  // Where there is a file, that command would destroy it.
  const makeIt = make === undefined ? '' : `to make one, as large as the source: ${make(wanted)}; `;
  throw new TransferError(code, `cannot use ${path} as a ${wanted} image: it ${is}`, {
    hint: `${makeIt}${choice === 'auto' ? plain : 'leave --format out, or name the right one'}`,
  });
}

/**
 * An image may name other files, of which its disk then consists: anyone who wrote the image would choose
 * which files of this machine are read.
 * @throws TransferError `code`.
 */
export async function refuseOtherFiles(
  { path, handle, head }: { path: string; handle: FileHandle; head: Buffer },
  format: ImageFormat,
  code: ErrorCode,
): Promise<void> {
  const other =
    format === 'qcow2' ? otherOfQcow2(head) : format === 'vmdk' ? await otherOfVmdk(handle, head) : '';
  if (other === '') return;
  throw new TransferError(code, `cannot open ${path}: it ${other}`, {
    hint:
      'if you trust it, put all of it into one file: ' +
      `qemu-img convert -O ${format} ${shellWord(path)} whole.${format}; ` +
      'or serve it with qemu-nbd, and name that',
  });
}

function otherOfQcow2(head: Buffer): string {
  if (head.length < 104) return 'is cut off';
  if (head.readBigUInt64BE(8) !== 0n) return 'is based on another file (a backing file)';
  const isExternal = head.readUInt32BE(4) >= 3 && (head.readBigUInt64BE(72) & 4n) !== 0n;
  return isExternal ? 'keeps its data in another file' : '';
}

async function otherOfVmdk(handle: FileHandle, head: Buffer): Promise<string> {
  if (head.toString('latin1', 0, 4) !== 'KDMV') return 'only lists other files, which hold the disk';
  if (head.length < 64) return 'is cut off';
  const [capacity, sector, sectors] = [12, 28, 36].map((at) => head.readBigUInt64LE(at));
  if (capacity === 0n) return 'only lists other files, which hold the disk';
  const descriptor = Buffer.alloc(Math.min(DESCRIPTOR_BYTES_MAX, Number(sectors) * SECTOR_BYTES));
  const at = Number(sector) * SECTOR_BYTES;
  if (!Number.isSafeInteger(at)) return 'is damaged';
  const { bytesRead } = await handle.read(descriptor, 0, descriptor.length, at);
  const isBased = /parentFileNameHint/i.test(descriptor.toString('latin1', 0, bytesRead));
  return isBased ? 'is based on another file (its parent)' : '';
}
