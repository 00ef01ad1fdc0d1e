/** minict killed, or a command failing, at every point of what has to do with cables and network cards. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { FAILURES, KILLS } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { failAtCommands, killAtCommands, MANY_POINTS } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import type { Verb } from '../helpers/verbs.ts';

const NICS = {
  'a cable to nobody yet': ['--nic', 'p2p:f2,name=eth2,ip=10.0.12.1/30'],
  'a cable that waits': ['--nic', 'p2p:keep,name=eth2,ip=10.0.12.1/30'],
  'a network card': ['--nic', 'phys:card0,name=eth1,ip=10.0.13.1/30,mac=02:00:00:00:00:77'],
};

let host: Host;
let clean: Snapshot;

beforeAll(async () => {
  host = await Host.create();
  for (const words of ['link add name card0 type veth peer name far0', 'link set card0 up', 'link set far0 up']) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  expect(host.minict('create', 'keep', '--nic', 'p2p:f1,name=eth7,ip=10.0.12.2/30').status).toBe(0);
  // The loose end has the MAC address of who had it last.
  expect(host.minict('create', 'f1', ...NICS['a cable that waits']).status).toBe(0);
  expect(host.minict('rm', 'f1').status).toBe(0);
});
beforeEach(() => {
  clean = host.snapshot();
});
afterEach(() => void host.minict('rm', '-f', 'f1'));
afterAll(() => host.destroy());

const CABLE = NICS['a cable that waits'];

function verb(title: string, options: readonly string[], words: string[], before: string[][], atomic: boolean): Verb {
  return { title, words, before, options, atomic, commands: 3, changes: 6 };
}

function verbsOf(options: readonly string[]): Verb[] {
  const create = ['create', 'f1', ...options];
  return [verb('create', options, create, [], true), verb('rm', options, ['rm', 'f1'], [create], false)];
}

/** Of what is inside alone, one kind stands for all. A route that cannot be put back does not keep it down. */
const INSIDE = [
  verb('stop', CABLE, ['stop', '-t', '0', 'f1'], [['create', 'f1', ...CABLE]], false),
  verb(
    'start',
    CABLE,
    ['start', 'f1'],
    [
      ['create', 'f1', ...CABLE],
      ['stop', 'f1'],
    ],
    false,
  ),
];

const ALL = [
  ...Object.entries(NICS).flatMap(([what, options]) => verbsOf(options).map((each) => ({ what, each }))),
  ...INSIDE.map((each) => ({ what: 'a cable', each })),
];

describe.each(ALL)('$what: $each.title', ({ each }) => {
  test.each([...KILLS])('a command %s', MANY_POINTS, async (fault) => {
    expect(await killAtCommands(host, each, clean, fault)).toBeGreaterThanOrEqual(each.commands);
  });
  test.each([...FAILURES])('a command %s', MANY_POINTS, async (fault) => {
    expect(await failAtCommands(host, each, clean, fault)).toBeGreaterThanOrEqual(each.commands);
  });
});
