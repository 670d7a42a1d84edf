import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usageErrorOf } from '../../common/usage-error.ts';

test('messages of commander become ours, with a hint', () => {
  for (const [said, message, hint] of [
    ["error: unknown option '--x'", "unknown option '--x'", 'ddt-send --help'],
    [
      "error: unknown option '--x'\n(Did you mean --y?)",
      "unknown option '--x'",
      'did you mean --y? ddt-send --help',
    ],
    ["error: option '--log <how>' argument missing", '--log needs a value: --log <how>', 'ddt-send --help'],
    ["error: missing required argument 'target'", 'no target given', 'ddt-send --help'],
    [
      "error: option '--log <how>' argument 'a\nb' is invalid. Allowed choices are text, json.",
      "--log 'a\nb' is not one of text, json",
      'ddt-send --help',
    ],
    // The arguments of the user, not a suggestion.
    ["error: x '\n(Did you mean a?)\n'", "x '\n(Did you mean a?)\n'", 'ddt-send --help'],
  ] as const) {
    const error = usageErrorOf(new Error(said), 'ddt-send');
    assert.deepEqual([error.code, error.message, error.hint], ['usage', message, hint]);
  }
});
