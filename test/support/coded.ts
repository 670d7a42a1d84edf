/** For `assert.rejects` and `assert.throws`: the failure has this code, and says this. */
import assert from 'node:assert/strict';
import { TransferError, type ErrorCode } from '../../common/errors.ts';

export interface Said {
  readonly message?: RegExp;
  readonly hint?: RegExp;
  /** Of the details. */
  readonly errno?: string;
}

export function coded(code: ErrorCode, said: Said = {}): (error: unknown) => true {
  return (error) => {
    assert(error instanceof TransferError, String(error));
    assert.equal(error.code, code, error.message);
    if (said.message !== undefined) assert.match(error.message, said.message);
    if (said.hint !== undefined) assert.match(error.hint ?? '', said.hint);
    if (said.errno !== undefined) assert.equal(error.details['errno'], said.errno);
    return true;
  };
}
