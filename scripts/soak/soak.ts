/**
 * Kills both commands again and again, over many small transfers, and checks the journal and the disk each
 * time: `npm run soak -- --kills 1000 --seed 7`. The same seed kills after the same delays, but what a kill
 * hits also depends on the kernel and the clock. `--target device` (a loop device, the default for root) and
 * `--target file` use different proofs that nobody else has written; `--foreign 0` keeps others from writing.
 */
import { mkdtempDisposable, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatDuration, formatSize, parseSize, parseWhole } from '../../common/units.ts';
import { freshSeed, prng } from '../../test/support/prng.ts';
import { runOk } from '../../test/support/run.ts';
import { Failure, TEMPORARY, runScript } from '../run-script.ts';
import { soakTransfer, type Tally } from './soak-transfer.ts';

const REPORT_EVERY_MS = 60_000;
const KILLS_MAX = 10_000_000;

interface SoakOptions {
  readonly kills: number;
  readonly seed: number;
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
  readonly foreignPercent: number;
  readonly isDevice: boolean;
}

function readOptions(argv: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      kills: { type: 'string', default: '100' },
      seed: { type: 'string', default: String(freshSeed()) },
      size: { type: 'string', default: '24MiB' },
      'block-size': { type: 'string', default: '64KiB' },
      foreign: { type: 'string', default: '20' },
      target: { type: 'string', default: process.getuid?.() === 0 ? 'device' : 'file' },
    },
  });
  if (values.target !== 'device' && values.target !== 'file')
    throw new Failure(`--target is 'device' or 'file', not '${values.target}'`, 2);
  return {
    kills: parseWhole(values.kills, '--kills', 1, KILLS_MAX),
    seed: parseWhole(values.seed, '--seed', 0, 2 ** 32 - 1),
    sizeBytes: parseSize(values.size),
    blockSizeBytes: parseSize(values['block-size']),
    foreignPercent: parseWhole(values.foreign, '--foreign', 0, 100),
    isDevice: values.target === 'device',
  };
}

async function makeTarget(
  path: string,
  { sizeBytes, isDevice }: SoakOptions,
  stack: AsyncDisposableStack,
): Promise<string> {
  await writeFile(path, '');
  await truncate(path, sizeBytes);
  if (!isDevice) return path;
  const device = (await runOk('losetup', ['--find', '--show', '--direct-io=on', path])).trim();
  stack.defer(async () => void (await runOk('losetup', ['--detach', device])));
  return device;
}

function reportOf(tally: Tally, options: SoakOptions, startMs: number): string {
  const lost = tally.lostBytes.toSorted((a, b) => a - b);
  const ages = tally.lostAgesMs.toSorted((a, b) => a - b);
  const seconds = (share: number): string =>
    ((ages[Math.ceil(ages.length * share) - 1] ?? 0) / 1000).toFixed(1);
  const mean = lost.reduce((total, bytes) => total + bytes, 0) / Math.max(1, lost.length);
  const again = tally.bytesWritten - tally.bytesNeeded;
  const share = tally.bytesNeeded === 0 ? 0 : (again / tally.bytesNeeded) * 100;
  return [
    `seed        ${options.seed}`,
    `time        ${formatDuration(performance.now() - startMs)}`,
    `transfers   ${tally.transfers} of ${formatSize(options.sizeBytes)}, all compared with cmp`,
    `kills       ${tally.receiverKills} of ddt-receive, ${tally.senderKills} of ddt-send`,
    `foreign     ${tally.foreignWrites} writes by others; ${tally.refusals} runs refused for them, ` +
      `${tally.changedAfterSeal} because the sealed target had changed`,
    `checked     ${tally.blocksChecked} listed blocks on the medium; ${tally.withdrawn} no longer listed`,
    `violations  ${tally.violations.length}`,
    `lost        ${formatSize(Math.round(mean))} per kill of ddt-receive, ` +
      `${formatSize(lost.at(-1) ?? 0)} at most`,
    `age         of the oldest byte lost: ${seconds(0.5)} s in half of the kills, ` +
      `${seconds(0.99)} s in 99 %, ${seconds(1)} s at most (a flush is due after 1 s, and takes its time)`,
    `written     ${formatSize(tally.bytesWritten)} for ${formatSize(tally.bytesNeeded)}, ` +
      `${share.toFixed(0)} % again`,
    ...tally.violations.map((sentence) => `VIOLATION   ${sentence}`),
    '',
  ].join('\n');
}

async function soak(options: SoakOptions, signal: AbortSignal): Promise<void> {
  const startMs = performance.now();
  const { kills, seed, sizeBytes, blockSizeBytes, foreignPercent } = options;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(TEMPORARY, 'ddt-soak-')));
  const random = prng(seed);
  // Two, taking turns: what a transfer left on the target is never right for the next one.
  const sources = [join(folder.path, 'source-a'), join(folder.path, 'source-b')];
  for (const source of sources) await writeFile(source, random.bytes(sizeBytes));
  const target = await makeTarget(join(folder.path, 'target'), options, stack);
  const tally: Tally = {
    transfers: 0,
    receiverKills: 0,
    senderKills: 0,
    blocksChecked: 0,
    foreignWrites: 0,
    refusals: 0,
    changedAfterSeal: 0,
    violations: [],
    withdrawn: 0,
    bytesNeeded: 0,
    bytesWritten: 0,
    lostBytes: [],
    lostAgesMs: [],
  };
  process.stdout.write(`soak: seed ${seed}, ${kills} kills of each side, target ${target}\n`);
  const place = { target, sizeBytes, blockSizeBytes, foreignPercent, folder: folder.path };
  let lastMs = startMs;
  try {
    while (tally.receiverKills < kills || tally.senderKills < kills) {
      const source = sources[tally.transfers % 2] ?? '';
      await soakTransfer({ ...place, source, killsMax: kills, random, tally, signal });
      if (performance.now() - lastMs < REPORT_EVERY_MS) continue;
      lastMs = performance.now();
      const { transfers, receiverKills, senderKills, violations } = tally;
      const done = `${receiverKills} and ${senderKills} kills, ${violations.length} violations`;
      process.stdout.write(`soak: ${formatDuration(lastMs - startMs)}: ${transfers} transfers, ${done}\n`);
    }
  } finally {
    process.stdout.write(reportOf(tally, options, startMs));
  }
  if (tally.violations.length > 0)
    throw new Failure(`${tally.violations.length} violations with seed ${seed}`);
}

await runScript('soak', async (signal) => await soak(readOptions(process.argv.slice(2)), signal));
