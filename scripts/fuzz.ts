/**
 * Feeds random inputs to both commands and to every parser of foreign input, until something does not hold:
 * `npm run fuzz -- --requests 10000 --inputs 100000 --runs 20 --seed 7 --only parsers`. A seed makes the same
 * inputs again; `--parser <name>` and `--path <path>` replay one case of one parser.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { parseWhole } from '../common/units.ts';
import { PARSERS, failureOfParser, shareOf } from '../test/fuzz/parsers.ts';
import { FuzzFailure, ROUND_REQUESTS, fuzzReceiver } from '../test/fuzz/receiver-fuzz.ts';
import { SenderFuzzFailure, fuzzSender } from '../test/fuzz/sender-fuzz.ts';
import { freshSeed } from '../test/support/prng.ts';
import { Failure, runScript } from './run-script.ts';

const KINDS = ['parsers', 'receiver', 'sender'] as const;
/** fast-check keeps every failure path of a run; so many inputs take a few seconds. */
const INPUTS_PER_SEED = 1_000_000;
const COUNT_MAX = 1_000_000_000;
const SEED_MAX = 2 ** 31 - 1;
const BYTES_SHOWN = 1500;

interface FuzzOptions {
  readonly inputs: number;
  readonly requests: number;
  readonly runs: number;
  readonly seed: number;
  readonly only: string | undefined;
  /** None: all. */
  readonly parser: readonly string[];
  readonly path: string | undefined;
}

function readOptions(): FuzzOptions {
  const { values } = parseArgs({
    options: {
      inputs: { type: 'string', default: '100000' },
      requests: { type: 'string', default: '10000' },
      runs: { type: 'string', default: '20' },
      seed: { type: 'string', default: String(freshSeed() % SEED_MAX) },
      only: { type: 'string' },
      parser: { type: 'string', multiple: true, default: [] },
      path: { type: 'string' },
    },
  });
  const { only, parser, path } = values;
  if (only !== undefined && !KINDS.some((kind) => kind === only))
    throw new Failure(`--only is one of ${KINDS.join(', ')}, not '${only}'`, 2);
  if (!parser.every((each) => PARSERS.some(({ name }) => name === each)))
    throw new Failure(`--parser is one of ${PARSERS.map(({ name }) => name).join(', ')}`, 2);
  return {
    inputs: parseWhole(values.inputs, '--inputs', 1, COUNT_MAX),
    requests: parseWhole(values.requests, '--requests', 1, COUNT_MAX),
    runs: parseWhole(values.runs, '--runs', 1, COUNT_MAX),
    seed: parseWhole(values.seed, '--seed', 0, SEED_MAX),
    only,
    parser,
    path,
  };
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function rateOf(count: number, startMs: number): string {
  const seconds = (performance.now() - startMs) / 1000;
  return `${seconds.toFixed(1)} s, ${Math.round(count / seconds)} a second`;
}

/** @param chosen names of parsers. @throws Failure with the smallest input found. */
async function fuzzParsers(options: FuzzOptions, chosen: readonly string[]): Promise<void> {
  const { inputs, seed, path } = options;
  for (let done = 0, own = seed; done < inputs; done += INPUTS_PER_SEED, own++) {
    const some = Math.min(INPUTS_PER_SEED, inputs - done);
    for (const parser of PARSERS.filter(({ name }) => chosen.includes(name))) {
      const failure = await failureOfParser(parser, { seed: own, inputs: shareOf(parser, some), path });
      if (failure === undefined) continue;
      const shown = failure.slice(0, 4 * BYTES_SHOWN);
      const place = /path: "([^"]+)"/.exec(failure)?.[1];
      const again = `--only parsers --seed ${own} --parser '${parser.name}'`;
      const replay = place === undefined ? '' : ` --path ${place}`;
      throw new Failure(`${parser.name}: ${shown}\nto repeat it: npm run fuzz -- ${again}${replay}`);
    }
  }
}

/** The parsers in as many processes as there are processors. */
async function fuzzParsersApart({ inputs, seed }: FuzzOptions): Promise<void> {
  const startMs = performance.now();
  const parts = availableParallelism();
  const runPart = async (part: number): Promise<number | null> => {
    const names = PARSERS.filter((_, at) => at % parts === part).flatMap(({ name }) => ['--parser', name]);
    const words = ['--only', 'parsers', '--seed', `${seed}`, '--inputs', `${inputs}`, ...names];
    const [status] = (await once(fork(import.meta.filename, words), 'exit')) as [number | null];
    return status;
  };
  const statuses = await Promise.all(Array.from({ length: parts }, (_, part) => runPart(part)));
  if (statuses.some((status) => status !== 0)) throw new Failure('not all parsers passed, see above');
  print(`parsers   ${inputs} inputs of ${PARSERS.length} parsers: ${rateOf(inputs, startMs)}`);
}

async function fuzzTheReceiver({ requests, seed }: FuzzOptions): Promise<void> {
  const startMs = performance.now();
  try {
    const { statuses, peakMib } = await fuzzReceiver({ seed, requests });
    const counts = [...statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`);
    print(`receiver  ${requests} requests: ${rateOf(requests, startMs)}, at most ${peakMib} MiB`);
    print(`          responses: ${counts.join(', ').replace(/^0:/, 'none:')}`);
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error;
    const { request, seed: round, message } = error;
    const bytes = request?.bytes.toString('latin1').slice(0, BYTES_SHOWN);
    const sent = bytes === undefined ? '' : `\nrequest: ${JSON.stringify(bytes)}`;
    const again = `npm run fuzz -- --only receiver --seed ${round} --requests ${ROUND_REQUESTS}`;
    throw new Failure(`ddt-receive: ${message}${sent}\nto repeat it: ${again}`, 1, { cause: error });
  }
}

async function fuzzTheSender({ runs, seed }: FuzzOptions): Promise<void> {
  const startMs = performance.now();
  try {
    const statuses = await fuzzSender({ seed, runs });
    const counts = [...statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`);
    print(`sender    ${runs} runs: ${rateOf(runs, startMs)}; exit statuses: ${counts.join(', ')}`);
  } catch (error) {
    if (!(error instanceof SenderFuzzFailure)) throw error;
    const again = `npm run fuzz -- --only sender --seed ${error.seed} --runs 1`;
    throw new Failure(`ddt-send: ${error.message}\nto repeat it: ${again}`, 1, { cause: error });
  }
}

await runScript('fuzz', async () => {
  const options = readOptions();
  const { only, parser, seed } = options;
  if (parser.length > 0) return await fuzzParsers(options, parser);
  print(`seed      ${seed}`);
  if (only === undefined || only === 'parsers') await fuzzParsersApart(options);
  if (only === undefined || only === 'receiver') await fuzzTheReceiver(options);
  if (only === undefined || only === 'sender') await fuzzTheSender(options);
});
