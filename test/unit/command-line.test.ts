/** A plain command line means what commander would make of it; of what is not plain, nothing is made. */
import { describe, expect, test } from 'vitest';
import { CommanderCommand } from '../../src/cli/commander-program.ts';
import { addContainerOptions } from '../../src/cli/container-options.ts';
import { PlainCommand } from '../../src/cli/plain-command.ts';
import type { VerbCommand } from '../../src/cli/verb-command.ts';

type Define = (command: VerbCommand) => VerbCommand;

/** Operands and options that the action gets; undefined where there is no action. */
async function plain(define: Define, words: readonly string[]): Promise<unknown[] | undefined> {
  let seen: unknown[] | undefined;
  const command = new PlainCommand();
  define(command).action((...all: unknown[]) => {
    seen = all;
  });
  await (await command.read(words))?.();
  return seen;
}

/** The same of commander; undefined where it refuses. */
async function commander(define: Define, words: readonly string[]): Promise<unknown[] | undefined> {
  let seen: unknown[] | undefined;
  const program = new CommanderCommand().enablePositionalOptions();
  const command = program
    .command('verb')
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  define(command).action((...all: unknown[]) => {
    seen = all.slice(0, -1);
  });
  try {
    await program.parseAsync(['verb', ...words], { from: 'user' });
  } catch {
    return undefined;
  }
  return seen;
}

const verbs: Record<string, Define> = {
  container: (command) => addContainerOptions(command).argument('<name>').argument('[more...]'),
  letters: (command) =>
    command
      .argument('<name>')
      .argument('[other]')
      .option('-i, --interactive', '')
      .option('-t, --tty', '')
      .option('-u, --user <user>', '')
      .option('-6', '')
      .option('--no-cache', '')
      .option('--format <format>', '', 'table')
      .option('--size <n>', '', (value: string) => Number(value), 3)
      .choice('--colour <when>', '', ['never', 'always'], 'never')
      .repeatable('-e, --env <K=V>', ''),
  passing: (command) => command.argument('<name>').argument('<cmd...>').option('-i', '').passThroughOptions(),
  writing: (command) => command.argument('[nic...]').requiredOption('-w, --write <file>', ''),
};

describe.each<[string, string[]]>([
  [
    'container',
    [
      'web1',
      'web1 --ip 10.0.0.1 --ip fd00::1 -v a:/b -va:/b --hostname=h',
      '--no-network web1',
      '--network a --no-network web1',
      '--no-network --network a web1',
      'web1 --mounts host -e A= --env=B=1=2 -p 80 --init',
      'web1 --mounts nowhere',
      'web1 --cap-add',
      'web1 -- sh -c x',
      '--label a=b web1 -m 3m -l c=d',
      'web1 --no-new-privileges --pid private',
      '',
    ],
  ],
  [
    'letters',
    [
      'a',
      'a b',
      'a b c',
      '-it a',
      '-iu root a',
      '-uroot -ti a b',
      '-tiuroot a',
      '-u=root a',
      '-u -i a',
      'a -6',
      'a -6i',
      '-6 -- -a -b',
      'a --no-cache',
      'a --cache',
      'a --format json --format=table',
      'a --format=',
      'a --format',
      'a --size 4 --size 5',
      'a --colour always',
      'a --colour green',
      'a --tty=yes',
      'a -x',
      'a -ix',
      'a --',
      '- -',
      'a -e x=y -ex=y --env -i',
      'a --interactiv',
      'a --constructor',
    ],
  ],
  ['passing', ['a b', '-i a b -i', 'a -i -- b', '-- a -i', 'a', '-x a b']],
  ['writing', ['a', 'a -w f', '-w', '-wf', '--write= x y']],
])('%s', (verb, lines) => {
  const define = verbs[verb] as Define;
  test.each(lines)('%j', async (line) => {
    const words = line.split(' ').filter(Boolean);
    expect(await plain(define, words)).toEqual(await commander(define, words));
  });
});

test('what is not a word of minict is left to commander', async () => {
  const define: Define = (command) => command.argument('[name]').option('--maybe [value]', '');
  expect(await plain(define, ['--maybe', 'a'])).toBeUndefined();
  expect(await commander(define, ['--maybe', 'a'])).toEqual([undefined, { maybe: 'a' }]);
  expect(await plain(define, ['a', '--help'])).toBeUndefined();
});
