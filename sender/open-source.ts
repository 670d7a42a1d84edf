/**
 * The only place that knows the kinds of source. A new kind is one adapter in source/ and one line here: what
 * else needs to be known of a source is a property of its port.
 */
import { TransferError } from '../common/errors.ts';
import { isNbdUri } from '../common/nbd/nbd-uri.ts';
import { isRbdName, refuseFormat } from '../common/nbd/open-image.ts';
import { isStoreName } from '../common/store/store-name.ts';
import type { DiskOptions } from './cli.ts';
import { DiskSource } from './source/disk-source.ts';
import { NbdSource } from './source/nbd-source.ts';
import type { Source } from './source/source.ts';
import { openStandardInput } from './source/standard-input.ts';
import type { Stream } from './source/stream.ts';

export type SourceOptions = Pick<
  DiskOptions,
  | 'source'
  | 'sourceSizeBytes'
  | 's3Endpoint'
  | 'format'
  | 'onReadError'
  | 'mapfile'
  | 'domainMapfile'
  | 'isUsedOnly'
  | 'isDryRun'
  | 'isProbe'
  | 'isCheck'
  | 'isPulled'
>;

/** @throws TransferError `source-refused`; `usage` for options that this kind of source has no use for. */
export async function openSource(options: SourceOptions): Promise<Source | Stream> {
  const source = await open(options).catch((error: unknown) => {
    throw options.isPulled ? asTyped(error) : error;
  });
  try {
    refuseMisfits(source, options);
    return source;
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

/** With a command that was typed where the target is: there `--format` is that of the target. */
function asTyped(error: unknown): unknown {
  if (!(error instanceof TransferError)) return error;
  const [message, hint] = [error.message, error.hint].map((text) =>
    text?.replaceAll('--format', '--source-format'),
  );
  return new TransferError(error.code, message ?? '', { cause: error, ...(hint !== undefined && { hint }) });
}

async function open(options: SourceOptions): Promise<Source | Stream> {
  const { source, sourceSizeBytes, format, onReadError, s3Endpoint } = options;
  const isStored = isStoreName(source);
  const isOther = isStandardInput(source) || isStored || isNbdUri(source) || isRbdName(source);
  if (isOther) refuseFormat(source, format);
  if (isStandardInput(source)) return await openStandardInput(sourceSizeBytes);
  if (isStored) {
    // It takes time to load.
    const { StoreSource } = await import('./source/store-source.ts');
    return await StoreSource.open(source, { onReadError, endpoint: s3Endpoint, environment: process.env });
  }
  if (isOther) return await NbdSource.open(source, onReadError);
  const image = await NbdSource.openImage(source, format, onReadError);
  if (image !== undefined) return image;
  return await DiskSource.open(source, onReadError);
}

/** Whether opening this source takes standard input. */
export function isStandardInput(source: string): boolean {
  return source === '-';
}

/** Options that would be read and have no effect are refused. */
function refuseMisfits(source: Source | Stream, options: SourceOptions): void {
  const { path } = source.description;
  if (source.canReread && options.sourceSizeBytes !== null) {
    throw new TransferError('usage', `--source-size is for standard input: the size of ${path} is known`, {
      hint: "zcat disk.img.gz | ddt-send --source-size 931G - '<ticket>'",
    });
  }
  const refuse = (option: string): never => {
    throw new TransferError('usage', `${option} is for disks and files, not for ${path}`, {
      hint: `leave ${option} out, or name a disk or a file`,
    });
  };
  if (options.isDryRun && !source.canReread) refuse('--dry-run');
  if (options.isProbe && !source.canReread) refuse('--probe');
  if (options.isCheck && !source.canReread) refuse('--check');
  const hasSectors = source.canReread && source.map !== undefined;
  if (options.mapfile !== undefined && !hasSectors) refuse('--mapfile');
  if (options.domainMapfile !== undefined && !source.canReread) refuse('--domain-mapfile');
  if (options.isUsedOnly && (!source.canReread || source.disk === undefined)) refuse('--used-only');
  if (options.onReadError === 'zero' && !hasSectors) refuse('--on-read-error zero');
}
