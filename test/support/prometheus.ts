/** promtool and a Prometheus of its own: installed, or unpacked into the folder DDT_TEST_PROMETHEUS. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { isRecord } from '../../common/records.ts';
import { OWN_HOST, environment, until } from './processes.ts';
import { NOT_INSTALLED, findProgram } from './requires.ts';
import { run, start, type Ended, type RunOptions } from './run.ts';
import { tempDir } from './temp-dir.ts';
import { writeFile } from 'node:fs/promises';

/** Only this process has the address. */
const PORT = 9090;

function programOf(name: string): string | undefined {
  const folder = process.env['DDT_TEST_PROMETHEUS'];
  return folder === undefined ? findProgram(name) : join(folder, 'usr/bin', name);
}

/** For `skip`. */
export function unlessPrometheus(): string | false {
  return programOf('promtool') === undefined && `${NOT_INSTALLED}prometheus`;
}

export async function promtool(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return await run(programOf('promtool') ?? '', args, options);
}

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus extends AsyncDisposable {
  /** The series that an expression has now. @throws AssertionError if it is not one. */
  query(expression: string): Promise<Series[]>;
  /** The answer of `/api/v1/<path>`. */
  api(path: string): Promise<Readonly<Record<string, unknown>>>;
}

/** @param config in its own format. */
export async function startPrometheus(config: string): Promise<Prometheus> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const file = join(folder.path, 'prometheus.yml');
  await writeFile(file, config);
  const address = `${OWN_HOST}:${PORT}`;
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(folder.path, 'data')}`,
    `--web.listen-address=${address}`,
  ];
  const server = stack.use(await start(programOf('prometheus') ?? '', args, { env: environment() }));
  const api = async (path: string): Promise<Readonly<Record<string, unknown>>> => {
    const response = await fetch(`http://${address}/api/v1/${path}`);
    const answer: unknown = await response.json();
    assert(isRecord(answer) && answer['status'] === 'success', `${path}: ${JSON.stringify(answer)}`);
    return answer['data'] as Readonly<Record<string, unknown>>;
  };
  await until('Prometheus', async () => {
    assert(server.isRunning, server.stderr);
    return await fetch(`http://${address}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  });
  const owned = stack.move();
  return {
    api,
    query: async (expression) => {
      const { result } = await api(`query?query=${encodeURIComponent(expression)}`);
      const all = result as { metric: Record<string, string>; value: [number, string] }[];
      return all.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}
