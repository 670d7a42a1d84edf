/** What a receiver that somebody else has started says with `--log json`, line by line. Pure. */
import { isErrorCode, type ErrorCode } from './errors.ts';
import { isRecord } from './records.ts';
import { printable } from './text.ts';

const TEXT_LENGTH_MAX = 500;

/** A member of the object on a line; undefined where there is none, or the line is something else. */
export function memberOf(line: string, name: string): unknown {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value[name] : undefined;
  } catch {
    return undefined;
  }
}

/** Why it has ended. Words of its own, safe to print. */
export interface ReceiverFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
  /** The target is not empty, and nothing else is wrong. */
  readonly isContent: boolean;
}

export function failureIn(log: readonly string[]): ReceiverFailure {
  const failed = log.find((line) => memberOf(line, 'level') === 'error') ?? '';
  const [message, hint, code] = ['message', 'hint', 'code'].map((name) => memberOf(failed, name));
  const last = log.filter((line) => line.trim() !== '').at(-1) ?? 'nothing';
  return {
    code: isErrorCode(code) ? code : 'machine-unsuitable',
    message: printable(typeof message === 'string' ? message : last).slice(0, TEXT_LENGTH_MAX),
    hint: typeof hint === 'string' ? printable(hint).slice(0, TEXT_LENGTH_MAX) : undefined,
    isContent: memberOf(failed, 'isContent') === true,
  };
}
