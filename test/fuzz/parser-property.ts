/** What every parser of foreign input has to keep, whatever it is given. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { TransferError, type ErrorCode } from '../../common/errors.ts';
import { failureText } from '../../common/text.ts';

export interface ParserProperty {
  /** The parser, as a test and the command line name it. */
  readonly name: string;
  /** Inputs out of 1,000 of all parsers' inputs; those that read files or hash much get few. */
  readonly weight: number;
  readonly property: fc.IRawProperty<unknown>;
}

/** Longer than any correct parser needs for inputs of this size, on a busy machine too. */
const PARSE_MS_MAX = 2000;

/** @param check is given one input; throws if something does not hold. */
export function parserProperty<Input>(
  name: string,
  weight: number,
  inputs: fc.Arbitrary<Input>,
  check: (input: Input) => void,
): ParserProperty {
  const timed = (input: Input): void => {
    const startMs = performance.now();
    check(input);
    const tookMs = performance.now() - startMs;
    assert(tookMs < PARSE_MS_MAX, `took ${tookMs} ms`);
  };
  return { name, weight, property: fc.property(inputs, timed) };
}

export function asyncParserProperty<Input>(
  name: string,
  weight: number,
  inputs: fc.Arbitrary<Input>,
  check: (input: Input) => Promise<void>,
): ParserProperty {
  return { name, weight, property: fc.asyncProperty(inputs, check) };
}

/**
 * @returns what the parser made of its input; undefined where it refused it as documented.
 * @throws AssertionError for any other failure, and for a message that is not fit to be shown.
 */
export function parsed<Result>(codes: readonly ErrorCode[], parse: () => Result): Result | undefined {
  try {
    return parse();
  } catch (error) {
    assertShowable(refusalIn(codes, error));
    return undefined;
  }
}

/** As {@link parsed}, for parsers whose messages quote the input to whoever wrote it. */
export function quotingParsed<Result>(codes: readonly ErrorCode[], parse: () => Result): Result | undefined {
  try {
    return parse();
  } catch (error) {
    refusalIn(codes, error);
    return undefined;
  }
}

/** As {@link parsed}. */
export async function parsedLater<Result>(
  codes: readonly ErrorCode[],
  parse: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await parse();
  } catch (error) {
    assertShowable(refusalIn(codes, error));
    return undefined;
  }
}

/** @returns what a person would be shown, without line feeds. */
function refusalIn(codes: readonly ErrorCode[], error: unknown): string {
  if (!(error instanceof TransferError)) throw error;
  assert(codes.includes(error.code), `code ${error.code}: ${error.message}`);
  return failureText('ddt', error).replaceAll('\n', '');
}

/** Nothing that controls a terminal or turns the direction of text. */
export function assertShowable(text: string): void {
  const found = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.exec(text);
  assert.equal(found, null, `U+${found?.[0].codePointAt(0)?.toString(16)} in ${JSON.stringify(text)}`);
}
