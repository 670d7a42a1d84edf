/** Parts of answers, checked: a member that is not what it should be makes the whole answer a bad one. */
import { TransferError } from '../../common/errors.ts';

export function badResponse(what: string): TransferError {
  return new TransferError('bad-answer', `the receiver's answer is not one: ${what}`);
}

export function objectOf(body: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new TransferError('bad-answer', "the receiver's answer is not JSON", { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badResponse('no object');
  return { ...value };
}

export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** A member of an answer that has to be an object. */
export function memberOf(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badResponse(`no ${name}`);
  return { ...value };
}

export function countIn(members: Record<string, unknown>, name: string): number {
  const value = members[name];
  if (!isCount(value)) throw badResponse(`no count of ${name}`);
  return value;
}
