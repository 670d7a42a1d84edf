/** What the journal keeps as JSON, checked: SQLite does not notice a byte that was changed within a text. */
import { isRecord } from '../../common/records.ts';
import { TransferError } from '../../common/errors.ts';
import { isGeometry } from '../../common/geometry.ts';
import type { Claim } from '../../common/protocol/protocol.ts';
import type { Journal } from '../journal/journal.ts';

/** @returns undefined without such a property. @throws TransferError `state-refused` where it is damaged. */
export function recordedObject(
  journal: Journal,
  name: string,
): Readonly<Record<string, unknown>> | undefined {
  const text = journal.property(name);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged(journal, name, error);
  }
  if (isRecord(value)) return { ...value };
  throw damaged(journal, name);
}

/** @returns undefined before the claim. @throws TransferError `state-refused` where it is damaged. */
export function recordedClaim(journal: Journal): Claim | undefined {
  const claim = recordedObject(journal, 'claim');
  if (claim === undefined) return undefined;
  const { size, blockSize, source } = claim;
  const sizeBytes = size ?? 0;
  const areNumbers = typeof sizeBytes === 'number' && typeof blockSize === 'number';
  const isWhole = areNumbers && isGeometry({ sizeBytes, blockSizeBytes: blockSize }) && isNamed(source);
  if (!isWhole) throw damaged(journal, 'claim');
  return claim as unknown as Claim;
}

/** Whether it has what is shown of a source or a target. */
export function isNamed(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { path, description, serial } = value;
  return typeof path === 'string' && typeof description === 'string' && isTextOrNull(serial);
}

function isTextOrNull(value: unknown): boolean {
  return value === null || typeof value === 'string';
}

export function damaged({ path }: Journal, name: string, cause?: unknown): TransferError {
  return new TransferError('state-refused', `the journal ${path} is damaged: its ${name} is invalid`, {
    cause,
    hint: 'use --discard-transfer to start over',
  });
}
