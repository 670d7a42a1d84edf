/** Faults in what strangers may do, what they learn, and what the log does with them. */
import type { Mutant } from './try-mutant.ts';

const CONNECTIONS = 'receiver/http/connections.ts';
const CONNECTIONS_TESTS = ['test/receiver/http/connections.test.ts'];
const QUOTA = 'receiver/http/connection-quota.ts';
const QUOTA_TESTS = ['test/receiver/http/connection-quota.test.ts'];
const APP = 'receiver/http/app.ts';
const APP_TESTS = ['test/receiver/http/routes-transfer.test.ts'];

export const STRANGERS: readonly Mutant[] = [
  {
    name: 'strangers are not counted',
    file: CONNECTIONS,
    edits: [
      [
        '    if (this.#strangers.size < strangersMax) return undefined;\n',
        '    if (strangersMax > 0) return undefined;\n',
      ],
    ],
    tests: CONNECTIONS_TESTS,
  },
  {
    name: 'one address may have all the places of strangers',
    file: CONNECTIONS,
    edits: [['own.length >= strangersPerAddressMax', 'own.length > 1000 * strangersPerAddressMax']],
    tests: CONNECTIONS_TESTS,
  },
  {
    name: 'a stranger may stay as long as it likes',
    file: CONNECTIONS,
    edits: [['nowMs - connection.sinceMs > strangerMs', 'nowMs - connection.sinceMs > 1000 * strangerMs']],
    tests: CONNECTIONS_TESTS,
  },
  {
    name: 'bytes of a stranger are not counted as they travel',
    file: CONNECTIONS,
    edits: [
      ['connection.raw.bytesRead > strangerBytesMax', '(connection.tls?.bytesRead ?? 0) > strangerBytesMax'],
    ],
    tests: CONNECTIONS_TESTS,
  },
  {
    name: 'key updates after the token are free',
    file: CONNECTIONS,
    edits: [['if (++this.#sweeps % KNOWN_SWEEPS === 0)', 'if (++this.#sweeps % KNOWN_SWEEPS < 0)']],
    tests: CONNECTIONS_TESTS,
  },
  {
    name: 'a stranger may ask again and again',
    file: CONNECTIONS,
    edits: [
      ['if (isFirst || connection.isKnown) answer();', 'if (isFirst || !connection.raw.destroyed) answer();'],
    ],
    tests: CONNECTIONS_TESTS,
  },
  {
    name: 'connections with a token have no limit',
    file: CONNECTIONS,
    edits: [['this.#known.size >= connectionsMax', 'this.#known.size > 1000 * connectionsMax']],
    tests: CONNECTIONS_TESTS,
  },
  {
    name: 'a connection that was refused is only ended',
    file: 'receiver/http/server.ts',
    edits: [
      [
        '    setTimeout(() => socket.destroy(), ERROR_GRACE_MS).unref();\n',
        '    if (ERROR_GRACE_MS < 0) socket.destroy();\n',
      ],
    ],
    tests: CONNECTIONS_TESTS,
  },
  {
    name: 'closing waits for strangers',
    file: 'receiver/http/server.ts',
    edits: [['  connections.dropStrangers();\n', '']],
    tests: ['test/end-to-end/strangers.test.ts'],
  },
  {
    name: 'all strange addresses together may connect as fast as they like',
    file: QUOTA,
    edits: [
      [
        '    return spend(this.#total, this.#limits.strangeTotal, nowMs);',
        '    return this.#total.atMs <= nowMs;',
      ],
    ],
    tests: QUOTA_TESTS,
  },
  {
    name: 'a flood costs its address nothing',
    file: QUOTA,
    edits: [['own.tokens -= FLOOD_PENALTY', 'own.tokens -= FLOOD_PENALTY - 40']],
    tests: QUOTA_TESTS,
  },
  {
    name: 'an IPv6 customer is a new address each time',
    file: QUOTA,
    edits: [['all.slice(0, 4)', 'all.slice(0, 8)']],
    tests: QUOTA_TESTS,
  },
  {
    name: 'strangers see epoch and counters',
    file: APP,
    edits: [['    if (!outgoing.sendDate) return;\n', '']],
    tests: APP_TESTS,
  },
  {
    name: 'the connection of a stranger stays open',
    file: APP,
    edits: [[' || !connections.isKnown(incoming.socket)) headers', ') headers']],
    tests: APP_TESTS,
  },
  {
    name: 'a stopped terminal stops the receiver',
    file: 'common/io/terminal-output.ts',
    edits: [['O_WRONLY | O_NONBLOCK | O_NOCTTY', 'O_WRONLY | O_NOCTTY']],
    tests: ['test/cli/stopped-terminal.test.ts'],
  },
];
