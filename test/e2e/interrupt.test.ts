/** INT, TERM and HUP while a verb's plan is carried out: it is undone at once, and the exit status is a shell's for that signal. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { useFaultHost } from '../helpers/fault-host.ts';
import { MINICT } from '../helpers/host.ts';

const faulty = useFaultHost();
const ok = (...words: string[]) => expect(faulty.host.minict(...words)).toMatchObject({ status: 0, stderr: '' });
const tools = () => join(faulty.host.dir, 'interrupting');
const sent = () => join(tools(), 'sent');

/** An ip(8) that sends, once minict listens, a signal to it, and in the terminal's way to itself; then it is the real one. */
beforeAll(() => {
  mkdirSync(tools());
  const script = `#!/bin/sh
[ "$1" = -batch ] && [ ! -e ${sent()} ] || exec ${Bun.which('ip')} "$@"
listens() { grep -q '^SigCgt:.*[2367abef]$' /proc/$PPID/status; }
until listens; do sleep .01; [ -d /proc/$PPID ] || exit 1; done
echo "$SIGNALS" >${sent()}
[ "$SIGNALS" = once ] || { kill -INT $PPID; while listens; do sleep .01; done; }
[ "$TO" = both ] && kill -$SIGNAL $PPID $$
kill -$SIGNAL $PPID
exec ${Bun.which('ip')} "$@"
`;
  writeFileSync(join(tools(), 'ip'), script, { mode: 0o755 });
});

interface Sending {
  readonly signal?: string;
  readonly to?: 'minict' | 'both';
  readonly signals?: 'once' | 'twice';
}

function interrupted(argv: readonly string[], { signal = 'INT', to = 'minict', signals = 'once' }: Sending = {}) {
  rmSync(sent(), { force: true });
  const env = { PATH: `${tools()}:${process.env.PATH}`, SIGNAL: signal, TO: to, SIGNALS: signals };
  const result = faulty.host.run(argv, env);
  expect(existsSync(sent()), result.stderr).toBe(true);
  return result;
}

describe.each(['minict', 'both'] as const)('to %s', (to) => {
  test.each<[string, string[][], string[], string, string[][]]>([
    ['create', [], ['create', 'f1'], 'create f1', []],
    ['create of a copy', [], ['create', 'f1', '--storage', 'copy'], 'create f1', []],
    ['network create', [], ['network', 'create', 'n1'], 'make network n1', [['network', 'rm', 'n1']]],
    [
      'network connect',
      [
        ['network', 'create', 'n1'],
        ['create', 'f1'],
      ],
      ['network', 'connect', 'n1', 'f1'],
      'connect f1',
      [
        ['rm', 'f1'],
        ['network', 'rm', 'n1'],
      ],
    ],
  ])('%s', async (_title, before, words, what, after) => {
    for (const each of before) ok(...each);
    const state = faulty.host.snapshot();
    const result = interrupted([MINICT, ...words], { to });
    expect(result).toEqual({ status: 130, stdout: '', stderr: `minict: cannot ${what}: interrupted by SIGINT\n` });
    expect(await faulty.host.settled(state)).toEqual(state);
    ok(...words);
    for (const each of after) ok(...each);
  });
});

test.each([
  ['TERM', 143],
  ['HUP', 129],
])('%s', async (signal, status) => {
  const result = interrupted([MINICT, 'create', 'f1'], { signal });
  expect(result).toMatchObject({ status, stderr: `minict: cannot create f1: interrupted by SIG${signal}\n` });
  expect(await faulty.host.settled(faulty.clean)).toEqual(faulty.clean);
});

test('of several names none is begun any more', async () => {
  ok('create', 'f1');
  ok('stop', 'f1', 'keep');
  const state = faulty.host.snapshot();
  expect(interrupted([MINICT, 'start', 'f1', 'keep'])).toEqual({
    status: 130,
    stdout: '',
    stderr: 'minict: cannot start f1: interrupted by SIGINT\n',
  });
  expect(await faulty.host.settled(state)).toEqual(state);
  ok('start', 'keep');
});

test('what minict was told to ignore it ignores', () => {
  const result = interrupted(['sh', '-c', 'trap "" HUP; exec "$0" create f1', MINICT], { signal: 'HUP' });
  expect(result).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
  expect(faulty.host.minict('exec', 'f1', 'hostname').stdout).toBe('f1\n');
});

test('a second one ends it at once, and the next create removes what is left', () => {
  expect(interrupted([MINICT, 'create', 'f1'], { signals: 'twice' })).toEqual({ status: 130, stdout: '', stderr: '' });
  ok('create', 'f1');
});
