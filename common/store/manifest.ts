/**
 * What a stored copy consists of: a line of JSON with its receipt and signature, then 32 bytes a block, the
 * SHA-256 of its bytes, in index order. `head -n 1` and `tail -n +2` take it apart. Pure.
 */
import { parseAreas } from '../areas.ts';
import { labelOf } from '../disk/block-devices.ts';
import { UNREADABLE_AREAS_MAX, type SealReceipt, type SourceDescription } from '../protocol/protocol.ts';
import { checkReceipt, parseReceipt, type SignedReceipt } from '../receipt/signed-receipt.ts';
import { isRecord } from '../records.ts';

export const MANIFEST_FORMAT = 'dd-transfer copy';
export const MANIFEST_VERSION = 1;
/** A receipt names up to 4096 areas: a line that is longer than this is none. */
export const HEAD_BYTES_MAX = 1024 * 1024;
const LINE_END = 0x0a;

/** Of the first line. */
export interface ManifestHead {
  readonly format: typeof MANIFEST_FORMAT;
  readonly version: typeof MANIFEST_VERSION;
  readonly name: string;
  /** The exact text that was signed. */
  readonly receipt: string;
  /** Armored. */
  readonly signature: string;
}

export interface Manifest extends SignedReceipt {
  readonly head: ManifestHead;
}

/** @param digests 32 bytes a block, of SHA-256. */
export function encodeManifest(
  parts: Pick<ManifestHead, 'name' | 'receipt' | 'signature'>,
  digests: Buffer,
): Buffer {
  const head: ManifestHead = { format: MANIFEST_FORMAT, version: MANIFEST_VERSION, ...parts };
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), digests]);
}

/**
 * The first line only; its signature is not checked.
 * @param bytes the first of them, up to {@link HEAD_BYTES_MAX}. @throws Error with what is wrong with it.
 */
export function decodeHead(bytes: Buffer): { head: ManifestHead; receipt: SealReceipt; lengthBytes: number } {
  const end = bytes.subarray(0, HEAD_BYTES_MAX).indexOf(LINE_END);
  if (end === -1) throw new Error('its first line has no end');
  const head = parseHead(bytes.toString('utf8', 0, end));
  const receipt = parseReceipt(Buffer.from(head.receipt));
  if (receipt === undefined) throw new Error('its receipt is not one');
  return { head, receipt: presentable(receipt), lengthBytes: end + 1 };
}

/** The signature and the root are compared. @throws Error that says what is wrong with it. */
export function decodeManifest(bytes: Buffer): Manifest {
  const { head, lengthBytes } = decodeHead(bytes);
  const digests = bytes.subarray(lengthBytes);
  const { receipt: json, signature } = head;
  const signed = checkReceipt({ json: Buffer.from(json), signature, digests }, (why) => {
    throw new Error(why);
  });
  if (signed.receipt.digest !== 'sha-256') throw new Error(`its digests are ${signed.receipt.digest}`);
  return { ...signed, receipt: presentable(signed.receipt), head };
}

/** Anyone who may write to the bucket can sign a receipt of their own. @throws Error. */
function presentable(receipt: SealReceipt): SealReceipt {
  const { size, transferId } = receipt;
  const unreadable = parseAreas(receipt.unreadable, size, UNREADABLE_AREAS_MAX);
  if (unreadable === undefined || typeof transferId !== 'string') throw new Error('its receipt is not one');
  return { ...receipt, unreadable, source: sourceOf(receipt.source) };
}

function sourceOf(source: unknown): SourceDescription | null {
  if (!isRecord(source)) return null;
  const { description, path, model, serial, byId } = source;
  return {
    description: labelOf(description) ?? 'unknown source',
    path: labelOf(path) ?? '',
    model: labelOf(model),
    serial: labelOf(serial),
    byId: labelOf(byId),
  };
}

function parseHead(line: string): ManifestHead {
  let value: Partial<ManifestHead> | null;
  try {
    value = JSON.parse(line) as Partial<ManifestHead> | null;
  } catch {
    throw new Error('its first line is not JSON');
  }
  if (value?.format !== MANIFEST_FORMAT) throw new Error('it is not a copy of dd-transfer');
  if (value.version !== MANIFEST_VERSION) {
    throw new Error(`it has version ${String(value.version)}; this program reads ${MANIFEST_VERSION}`);
  }
  const { format, version, name, receipt, signature } = value;
  if (typeof name !== 'string' || typeof receipt !== 'string' || typeof signature !== 'string') {
    throw new Error('it has no name, receipt or signature');
  }
  return { format, version, name, receipt, signature };
}
