/** Disks that are reached through NBD: exports of servers, images, and volumes of Ceph. */
import type { OpenDisk } from '../disk/open-disk.ts';
import { TransferError, type ErrorCode } from '../errors.ts';
import {
  chooseFormat,
  formatOf,
  headOf,
  refuseOtherFiles,
  type FormatChoice,
  type FormatQuestion,
} from './image-format.ts';
import type { ImageFormat } from './image-format.ts';
import { NbdExport } from './nbd-export.ts';
import { parseNbdUri } from './nbd-uri.ts';
import { QemuNbd, imageOfFile } from './qemu-nbd.ts';

/** Disposing it ends the server, if it was started for it. */
export interface OpenedExport extends AsyncDisposable {
  readonly disk: NbdExport;
}

export interface OpenOptions {
  readonly isWritable: boolean;
  /** Of a refusal. */
  readonly code: ErrorCode;
}

/** @throws TransferError `usage`, the code of the options. */
export async function openUri(text: string, { code }: OpenOptions): Promise<OpenedExport> {
  const disk = await NbdExport.open(parseNbdUri(text)).catch(refuseAs(code));
  return { disk, [Symbol.asyncDispose]: async () => await disk[Symbol.asyncDispose]() };
}

/** A volume of Ceph: `rbd:pool/image`, with what qemu takes after it. */
export function isRbdName(text: string): boolean {
  return /^rbd:[^/]+\/./.test(text);
}

/** @throws TransferError, with the code of the options. */
export async function openRbd(name: string, { isWritable, code }: OpenOptions): Promise<OpenedExport> {
  return await serve({ name, image: ['--format', 'raw', name], handle: undefined, isWritable }, code);
}

/** @param format as {@link imageFormatOf} says. @throws TransferError, with the code of the options. */
export async function openImage(
  { description: { path }, handle }: OpenDisk,
  format: ImageFormat,
  { isWritable, code }: OpenOptions,
): Promise<OpenedExport> {
  return await serve({ name: path, image: imageOfFile(format), handle, isWritable }, code);
}

async function serve(served: Parameters<typeof QemuNbd.serve>[0], code: ErrorCode): Promise<OpenedExport> {
  const { server, disk } = await QemuNbd.serve(served).catch(refuseAs(code));
  return {
    disk,
    [Symbol.asyncDispose]: async () => {
      await disk[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** What of a file is meant: its bytes, or the disk in it. @throws TransferError `code`. */
export async function imageFormatOf(
  { description: { path }, handle }: OpenDisk,
  question: Pick<FormatQuestion, 'choice' | 'code'>,
): Promise<ImageFormat | 'raw'> {
  const head = await headOf(handle);
  const format = chooseFormat({ ...question, path, found: formatOf(head) });
  if (format !== 'raw') await refuseOtherFiles({ path, handle, head }, format, question.code);
  return format;
}

/** @throws TransferError `usage` where `--format` has no meaning. */
export function refuseFormat(name: string, choice: FormatChoice): void {
  if (choice === 'auto') return;
  throw new TransferError('usage', `--format ${choice} is for files, not for ${name}`, {
    hint: 'leave --format out',
  });
}

function refuseAs(code: ErrorCode): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof TransferError) || error.code !== 'connection-failed') throw error;
    const { message, hint } = error;
    throw new TransferError(code, message, { cause: error, ...(hint !== undefined && { hint }) });
  };
}
