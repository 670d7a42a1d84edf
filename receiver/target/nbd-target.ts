/**
 * An export of an NBD server as the target, or an image or a volume of Ceph that a qemu-nbd of our own
 * serves. Its server has the last word on all of it: what it has flushed, and what it answers when that is
 * read back. Nobody counts what others write to it.
 */
import { changeOf, type OpenDisk } from '../../common/disk/open-disk.ts';
import { placesOf, type DiskPlaces } from '../../common/disk/disk-places.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
import { SlabPool } from '../../common/io/buffers.ts';
import { isZero } from '../../common/io/zeros.ts';
import type { ImageFormat } from '../../common/nbd/image-format.ts';
import type { NbdExport, TellOutage } from '../../common/nbd/nbd-export.ts';
import { openImage, openRbd, openUri, type OpenedExport } from '../../common/nbd/open-image.ts';
import { isNbdUri } from '../../common/nbd/nbd-uri.ts';
import { shellWord } from '../../common/text.ts';
import { formatSize } from '../../common/units.ts';
import { writablePlaceOf } from './file-target.ts';
import type { FoundTarget } from './found-target.ts';
import { lockFile } from './lock-file.ts';
import { changedTarget, identityOf, refusal } from './target-safety.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { Target, TargetIdentity, WriteMark } from './target.ts';

const ZEROS_BYTES = 1024 * 1024;
/** Read to see whether there is anything on it. */
const SAMPLE_BYTES = 64 * 1024;
const SAMPLE_COUNT = 64;
/** Nobody knows on which disks of which machine an export is. */
const NO_PLACES: DiskPlaces = { bootId: null, itself: [], within: [] };
/** Answers of a server about which parts are zeros; each covers a gigabyte at most. */
const STATUS_COUNT_MAX = 16 * 1024;

/** @param name of an export or a volume. @throws TransferError `target-refused`, `usage`. */
export async function findNbd(name: string): Promise<FoundTarget> {
  const options = { isWritable: true, code: 'target-refused' } as const;
  const opened = isNbdUri(name) ? await openUri(name, options) : await openRbd(name, options);
  const nothing = { model: null, serial: null, wwn: null, byId: null, fileId: null, createdAt: null };
  const identity: TargetIdentity = {
    kind: 'nbd',
    path: opened.disk.name,
    ...nothing,
    bootTimeId: null,
    sizeBytes: opened.disk.sizeBytes,
    logicalSectorBytes: 512,
    description: isNbdUri(name) ? 'NBD export' : 'Ceph RBD volume',
  };
  return await found(opened, identity, undefined);
}

/** @param file closed with what is found. @throws TransferError `target-refused`. */
export async function findImage(file: OpenDisk, format: ImageFormat, stateDir: string): Promise<FoundTarget> {
  const { path } = file.description;
  await using _place = await writablePlaceOf(file, stateDir);
  if (!(await lockFile(file.handle))) {
    throw refusal(`cannot write to ${path}: another process, perhaps another ddt-receive, has locked it`);
  }
  const opened = await openImage(file, format, { isWritable: true, code: 'target-refused' });
  const facts = { kind: 'image', sizeBytes: opened.disk.sizeBytes, description: `disk in a ${format} image` };
  return await found(opened, { ...identityOf(file.description), ...facts }, file);
}

async function found(
  opened: OpenedExport,
  identity: TargetIdentity,
  file: OpenDisk | undefined,
): Promise<FoundTarget> {
  await using stack = new AsyncDisposableStack();
  if (file !== undefined) stack.use(file);
  stack.use(opened);
  const { disk } = opened;
  const { path, description, fileId } = identity;
  const name = `${path} (${description}, ${formatSize(disk.sizeBytes)})`;
  refuseUnfit(disk, name);
  const content = await contentOf(disk, name);
  const owned = stack.move();
  let isTaken = false;
  return {
    identity,
    name,
    content,
    isAbsent: false,
    isAt: async (other) => await Promise.resolve(other === path),
    open: async () => {
      const places = fileId === null ? NO_PLACES : await placesOf({ majorMinor: null, fileId });
      isTaken = true;
      return { target: new NbdTarget(identity, disk, { file, owned }), places };
    },
    [Symbol.asyncDispose]: async () => {
      if (!isTaken) await owned.disposeAsync();
    },
  };
}

function refuseUnfit({ facts }: NbdExport, name: string): void {
  if (facts.isReadOnly) throw refusal(`cannot write to ${name}: its NBD server serves it read-only`);
  if (facts.canFlush) return;
  throw refusal(
    `cannot write to ${name}: its NBD server has no FLUSH, so what is written is never known to be safe`,
    'serve it with nbdkit or qemu-nbd',
  );
}

/** Whether a sample of what may be data has any byte that is not zero. */
async function contentOf(disk: NbdExport, name: string): Promise<string[]> {
  const slabs = new SlabPool({ slabSizeBytes: SAMPLE_BYTES, slabCount: 1 });
  using slab = await slabs.take();
  try {
    for (const at of await placesToLook(disk)) {
      const sample = slab.bytes.subarray(0, Math.min(SAMPLE_BYTES, disk.sizeBytes - at));
      await disk.read(sample, at);
      if (!isZero(sample)) return ['data of an unknown kind'];
    }
    return [];
  } catch (error) {
    throw refusal(`cannot read ${name} to see whether it is empty: ${reasonOf(error)}`, undefined, error);
  }
}

/** Spread over all of it, and the beginnings of parts that the server does not call zeros. */
async function placesToLook(disk: NbdExport): Promise<number[]> {
  const { sizeBytes } = disk;
  const places = new Set<number>();
  const step = Math.max(SAMPLE_BYTES, (sizeBytes - SAMPLE_BYTES) / (SAMPLE_COUNT - 1));
  for (let at = 0; at < sizeBytes && places.size < SAMPLE_COUNT; at += step) places.add(Math.floor(at));
  let at = 0;
  for (let asked = 0; at < sizeBytes && asked < STATUS_COUNT_MAX; asked++) {
    const { lengthBytes, isZero: isHole } = await disk.zeroRun(at, sizeBytes - at);
    if (!isHole) places.add(at);
    if (places.size === 2 * SAMPLE_COUNT) break;
    at += lengthBytes;
  }
  return [...places];
}

export class NbdTarget implements Target {
  readonly isSizeFixed = true;
  readonly sectorBytes = null;
  readonly identity: TargetIdentity;
  readonly #disk: NbdExport;
  readonly #file: OpenDisk | undefined;
  readonly #owned: AsyncDisposable;
  readonly #zeros = new SlabPool({ slabSizeBytes: ZEROS_BYTES, slabCount: 1 });
  #writeCount = 0;

  /** @param parts.file of an image; @param parts.owned is disposed at the end. */
  constructor(
    identity: TargetIdentity,
    disk: NbdExport,
    parts: { file: OpenDisk | undefined; owned: AsyncDisposable },
  ) {
    this.identity = identity;
    this.#disk = disk;
    this.#file = parts.file;
    this.#owned = parts.owned;
  }

  async confirm(): Promise<void> {
    if (this.#file === undefined) return;
    const { path } = this.identity;
    // An image grows while it is written.
    const change = await changeOf({ path, sizeBytes: null }, this.#file.handle);
    if (change !== undefined) throw changedTarget(path, change);
  }

  async prepare(sizeBytes: number): Promise<void> {
    const { path } = this.identity;
    const ownBytes = this.#disk.sizeBytes;
    if (ownBytes >= sizeBytes) return await Promise.resolve();
    const source = `the source has ${sizeBytes} (${formatSize(sizeBytes)})`;
    const hint =
      this.#file === undefined
        ? {}
        : { hint: `stop this receiver, then: qemu-img resize ${shellWord(path)} ${sizeBytes}` };
    throw new TransferError(
      'target-too-small',
      `${path} is too small: it has ${ownBytes} bytes, ${source}`,
      hint,
    );
  }

  /** Asked with the rights that are left, it shows whether a lost server could be found again. */
  async lengthBytes(): Promise<number> {
    await this.#disk.checkReach();
    return this.#disk.sizeBytes;
  }

  async roomBytes(): Promise<number> {
    return await Promise.resolve(this.#disk.sizeBytes);
  }

  reportOutages(tell: TellOutage): void {
    this.#disk.reportOutages(tell);
  }

  stopWaiting(): void {
    this.#disk.stopWaiting();
  }

  async write(bytes: Buffer, offset: number): Promise<void> {
    this.#writeCount++;
    try {
      await this.#disk.write(bytes, offset);
    } catch (error) {
      throw this.#failed(`write ${bytes.length} bytes at offset ${offset} to`, error);
    }
  }

  /** What the server calls zeros already stays: some formats would keep a written zero as data. */
  async writeZeros(offset: number, lengthBytes: number): Promise<void> {
    this.#writeCount++;
    const end = offset + lengthBytes;
    try {
      for (let at = offset; at < end;) {
        const run = await this.#disk.zeroRun(at, end - at);
        if (!run.isZero) await this.#makeZero(at, run.lengthBytes);
        at += run.lengthBytes;
      }
    } catch (error) {
      throw this.#failed(`write ${lengthBytes} zeros at offset ${offset} to`, error);
    }
  }

  async #makeZero(offset: number, lengthBytes: number): Promise<void> {
    const end = offset + lengthBytes;
    let at = offset + (await this.#disk.writeZeroes(offset, lengthBytes));
    if (at === end) return;
    using zeros = await this.#zeros.take();
    for (; at < end; at += ZEROS_BYTES) {
      await this.#disk.write(zeros.bytes.subarray(0, Math.min(ZEROS_BYTES, end - at)), at);
    }
  }

  async read(into: Buffer, offset: number): Promise<void> {
    try {
      await this.#disk.read(into, offset);
    } catch (error) {
      throw this.#failed(`read ${into.length} bytes at offset ${offset} of`, error);
    }
  }

  async readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod> {
    await this.read(into, offset);
    return 'nbd-server';
  }

  async flush(): Promise<void> {
    try {
      await this.#disk.flush();
    } catch (error) {
      throw this.#failed('flush', error);
    }
  }

  /** Our own writes change it, too: all is read back after the last one. */
  async writeMark(): Promise<WriteMark> {
    const { lossCount } = this.#disk;
    const stamp = `${this.#writeCount} ${lossCount}`;
    return await Promise.resolve({ foreignBytes: null, stamp, lossCount });
  }

  async close(): Promise<void> {
    await this.#owned[Symbol.asyncDispose]();
  }

  #failed(what: string, cause: unknown): TransferError {
    const errno = errnoOf(cause);
    const said = cause instanceof Error && errno !== undefined ? ` (${cause.message})` : '';
    const message = `cannot ${what} ${this.identity.path}: ${reasonOf(cause)}${said}`;
    return new TransferError(errno === 'ENOSPC' ? 'no-space' : 'io-error', message, {
      cause,
      details: { errno },
    });
  }
}
