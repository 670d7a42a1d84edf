/** All parsers of foreign input, and how many inputs each of them gets. */
import * as fc from 'fast-check';
import { FILE_PARSERS } from './file-parsers.ts';
import { FLEET_PARSERS } from './fleet-parsers.ts';
import { NBD_PARSERS } from './nbd-parsers.ts';
import type { ParserProperty } from './parser-property.ts';
import { REQUEST_PARSERS } from './request-parsers.ts';
import { RESPONSE_PARSERS } from './response-parsers.ts';
import { TEXT_PARSERS } from './text-parsers.ts';
import { TRUST_PARSERS } from './trust-parsers.ts';

export const PARSERS: readonly ParserProperty[] = [
  ...TRUST_PARSERS,
  ...REQUEST_PARSERS,
  ...RESPONSE_PARSERS,
  ...TEXT_PARSERS,
  ...FILE_PARSERS,
  ...NBD_PARSERS,
  ...FLEET_PARSERS,
];

const WEIGHT_OF_ALL = PARSERS.reduce((sum, { weight }) => sum + weight, 0);

/** @returns how many of `inputs` inputs of all parsers this one gets, at least one. */
export function shareOf({ weight }: ParserProperty, inputs: number): number {
  return Math.ceil((inputs * weight) / WEIGHT_OF_ALL);
}

/** @returns undefined, or the smallest input found for which something does not hold, with what. */
export async function failureOfParser(
  { property }: ParserProperty,
  options: { readonly seed: number; readonly inputs: number; readonly path?: string | undefined },
): Promise<string | undefined> {
  const { seed, inputs, path } = options;
  const details = await fc.check(property, {
    seed,
    numRuns: inputs,
    includeErrorInReport: true,
    ...(path === undefined ? {} : { path, endOnFailure: true }),
  });
  return details.failed ? await fc.asyncDefaultReportMessage(details) : undefined;
}
