/** Figures and events of running copies, as a real Prometheus and other programs collect them. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatMetrics } from '../../common/watch/metrics.ts';
import { receiverMetrics } from '../../receiver/watch/receiver-metrics.ts';
import { senderMetrics } from '../../sender/watch/sender-metrics.ts';
import { BLOCK_BYTES, SMALL_BLOCKS, assertCopied, randomSource } from '../support/copied.ts';
import { PROJECT, codeIn, readDocument, rowsOf } from '../support/documents.ts';
import { faultDisk, skipUnlessFaultDisk } from '../support/fault-disk.ts';
import { prng } from '../support/prng.ts';
import {
  MIB,
  OWN_HOST,
  runSender,
  startReceiver,
  startSender,
  until,
  type Receiver,
} from '../support/processes.ts';
import { progressEventsOf } from '../support/progress-events.ts';
import { promtool, startPrometheus, unlessPrometheus, type Series } from '../support/prometheus.ts';
import type { Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessPrometheus();
const FOLDER = join(PROJECT, 'docs/prometheus');
/** On the address of this process. */
const PORTS = { sender: 9101, receiver: 9102 } as const;

interface Scene extends AsyncDisposable {
  readonly receiver: Receiver;
  readonly sending: Started;
  /** Resource of one of the sides. */
  get(side: keyof typeof PORTS, path: string): Promise<Response>;
  /** From here on it is copied without a limit. */
  hurry(): Promise<void>;
}

/** A copy that is watched on both sides. @param folder has the keys after it. */
async function scene(folder: string): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const at = (name: string): string => join(folder, name);
  await writeFile(at('source'), prng(7).bytes(8 * MIB));
  await writeFile(at('limit'), '512K');
  const web = (side: keyof typeof PORTS): string[] => ['--web', `${OWN_HOST}:${PORTS[side]}`];
  const target = at('a "target"');
  const receiver = stack.use(await startReceiver({ folder, target, options: web('receiver') }));
  const small = ['--block-size', '256KiB', '--connections', '2', '--bwlimit', `@${at('limit')}`];
  const from = ['--progress', 'json', '--ticket-file', receiver.ticketFile, at('source')];
  const sending = stack.use(await startSender([...web('sender'), ...small, ...from]));
  const keys = { sender: await keyOf(sending), receiver: await keyOf(receiver.process) };
  for (const [side, key] of Object.entries(keys)) await writeFile(at(`${side}.key`), key);
  const owned = stack.move();
  return {
    receiver,
    sending,
    get: async (side, path) =>
      await fetch(`http://${OWN_HOST}:${PORTS[side]}${path}`, {
        headers: { authorization: `Bearer ${keys[side]}` },
      }),
    hurry: async () => await writeFile(at('limit'), 'off'),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** In the line that names the page. */
async function keyOf(process: Started): Promise<string> {
  return (await process.waitForLine(/^web {6}http:\S+\/#(\S+)$/))[1] ?? '';
}

/** Prometheus knows where both will be, where their keys will be, and the rules of the documents. */
function configOf(folder: string): string {
  const jobs = [
    { name: 'sender', port: PORTS.sender },
    { name: 'receiver', port: PORTS.receiver },
    { name: 'stranger', port: PORTS.sender },
  ].map(
    ({ name, port }) => `
  - job_name: ${name}
    authorization: { credentials_file: '${folder}/${name}.key' }
    static_configs: [{ targets: ['${OWN_HOST}:${port}'] }]`,
  );
  return `
global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }
rule_files: ['${FOLDER}/alerts.yml']
scrape_configs:${jobs.join('')}
`;
}

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

/** Of the dashboard, as Grafana fills them in. */
async function expressions(): Promise<string[]> {
  const text = await readFile(join(FOLDER, 'dashboard.json'), 'utf8');
  const { panels } = JSON.parse(text) as { panels: readonly Panel[] };
  const all = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  assert(all.length > 15);
  return all.map((expr) => expr.replaceAll('$__rate_interval', '5s').replaceAll('$instance', '.*'));
}

test('a real Prometheus collects both sides while they copy, and no stranger', { skip }, async () => {
  await using folder = await tempDir();
  await writeFile(join(folder.path, 'stranger.key'), 'x'.repeat(32));
  // It looks for what to collect from after five seconds.
  await using prometheus = await startPrometheus(configOf(folder.path));
  const query = async (text: string): Promise<Series[]> => await prometheus.query(text);
  await using the = await scene(folder.path);
  for (const side of ['sender', 'receiver'] as const) {
    const response = await the.get(side, '/metrics');
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    const checked = await promtool(['check', 'metrics'], { input: await response.text() });
    assert.deepEqual([checked.status, checked.stderr], [0, ''], checked.stdout);
  }
  await until('three scrapes of a copy', async () => {
    const counts = ['ddt_receive_durable_bytes', 'ddt_send_arrived_bytes'].map(
      async (name) => await query(`count_over_time((${name} > 0)[1m:500ms])`),
    );
    return (await Promise.all(counts)).every(([series]) => (series?.value ?? 0) >= 3);
  });
  const up = (await query('up')).map(({ metric, value }) => [metric['job'], value]);
  assert.deepEqual(Object.fromEntries(up), { sender: 1, receiver: 1, stranger: 0 });
  const valuesOf = async (text: string): Promise<number[]> => (await query(text)).map(({ value }) => value);
  assert.deepEqual(await valuesOf('ddt_send_source_bytes'), [8 * MIB]);
  assert.deepEqual(await valuesOf('sum(ddt_receive_blocks)'), [32]);
  assert.deepEqual(await valuesOf('ddt_send_limit_bytes_per_second'), [MIB / 2]);
  const [durable] = await query('ddt_receive_durable_bytes');
  assert.match(durable?.metric['target'] ?? '', /\/a "target"$/);
  const empty: string[] = [];
  for (const expression of await expressions())
    if ((await query(expression)).length === 0) empty.push(expression);
  // Nobody knows the remaining time in the first seconds.
  assert.deepEqual(
    empty.filter((one) => !one.includes('remaining')),
    [],
    'each panel shows something',
  );
  const { groups } = await prometheus.api('rules');
  const [{ rules } = { rules: [] }] = groups as { rules: { health: string; state: string }[] }[];
  assert.deepEqual(
    rules.map(({ health, state }) => [health, state]),
    Array.from({ length: 5 }, () => ['ok', 'inactive']),
  );
  await the.hurry();
  const { status, stderr } = await the.sending.ended;
  assert.equal(status, 0, stderr);
});

test('the alerts are rules of Prometheus, and come when they should', { skip }, async () => {
  for (const args of [
    ['check', 'rules', 'alerts.yml'],
    ['test', 'rules', 'alerts.test.yml'],
  ]) {
    const { status, stdout, stderr } = await promtool(args, { cwd: FOLDER });
    assert.equal(status, 0, stdout + stderr);
    assert.doesNotMatch(stdout + stderr, /lint|FAILED/);
  }
});

test('the guide has every metric, and the alerts and the dashboard use no others', async () => {
  const sender = { snapshot: undefined, waiting: undefined, unreadable: [], lostCount: 0 };
  const all = [...senderMetrics(sender), ...receiverMetrics([])];
  const types = new Map(all.map(({ name, type }) => [name, type]));
  const rows = rowsOf(await readDocument('docs/guide/metrics.md'), 'metric');
  assert.deepEqual(new Map(rows.map(([name, type]) => [codeIn(name), type])), types);
  for (const { name, type, help } of all) {
    assert.equal(type === 'counter', name.endsWith('_total'), name);
    assert.doesNotMatch(help, /\.$|\n/);
  }
  for (const file of ['alerts.yml', 'alerts.test.yml', 'dashboard.json']) {
    const used = (await readFile(join(FOLDER, file), 'utf8')).match(/\b(ddt|process)_\w+/g) ?? [];
    assert(used.length > 3);
    for (const name of used) assert(types.has(name) || name.startsWith('ddt_('), `${file}: ${name}`);
  }
});

test(
  'a block that reads back different is counted by its reason',
  { skip: skipUnlessFaultDisk },
  async () => {
    await using folder = await tempDir();
    const source = await randomSource(folder.path, 8);
    await using disk = await faultDisk(8 * BLOCK_BYTES);
    const options = ['--web', `${OWN_HOST}:${PORTS.receiver}`];
    await using receiver = await startReceiver({ folder: folder.path, target: disk.path, options });
    const key = await keyOf(receiver.process);
    await disk.setFault({ fault: 'flip-lies', times: 1, from: 5 * BLOCK_BYTES, end: 6 * BLOCK_BYTES });
    const sending = await runSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, source]);
    await assertCopied(sending, source, disk.medium);
    const headers = { authorization: `Bearer ${key}` };
    const text = await (await fetch(`http://${OWN_HOST}:${PORTS.receiver}/metrics`, { headers })).text();
    const labels = `{target="${disk.path}",reason=`;
    for (const [reason, count] of [
      ['mismatch', 1],
      ['changed', 0],
    ] as const) {
      assert(text.includes(`\nddt_receive_bad_blocks_total${labels}"${reason}"} ${count}\n`), text);
    }
    assert(text.includes(`\nddt_receive_sealed{target="${disk.path}"} 1\n`), text);
  },
);

test('/events has the very lines of --progress json, to the last one', async () => {
  await using folder = await tempDir();
  await using the = await scene(folder.path);
  await the.sending.waitForLine(/"blocksDurable":[1-9]/);
  const response = await the.get('sender', '/events');
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
  await the.hurry();
  const events = await response.text();
  const { stdout, status } = await the.sending.ended;
  assert.equal(status, 0);
  assert(events.length > 500 && stdout.endsWith(events), events);
  assert.equal(progressEventsOf(events).at(-1)?.['event'], 'done');
});

test('a label is text, whatever is in it, and what nobody knows is left out', { skip }, async () => {
  const hostile = 'a\\b"c\nd{e="f"} 1\n# é \uD800';
  const metric = { name: 'ddt_x', help: 'For a test', type: 'gauge' } as const;
  const samples = [{ labels: { target: hostile }, value: 1.5 }, { value: undefined }];
  const input = formatMetrics([
    { ...metric, samples },
    { ...metric, name: 'ddt_y', samples: [{ value: undefined }] },
  ]);
  const lines = input.trimEnd().split('\n');
  assert.deepEqual(lines.slice(0, 2), ['# HELP ddt_x For a test', '# TYPE ddt_x gauge']);
  assert.equal(lines.length, 3, input);
  assert.equal((await promtool(['check', 'metrics'], { input })).status, 0);
});
