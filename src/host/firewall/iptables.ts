/** The FORWARD chain of iptables' table filter, from `iptables-nft -S` or `iptables-legacy -S`. */
import { readToolOutput } from '../tool-output.ts';
import {
  addressMatches,
  all,
  type Filter,
  findDrop,
  linkMatches,
  negate,
  type Rule,
  type Traffic,
  type Truth,
  truth,
  type Verdict,
} from './verdict.ts';

const BASE = 'FORWARD';
/** docker rebuilds FORWARD, but leaves this chain, the first that it jumps to, to the host's owner. */
const OWNERS_CHAIN = 'DOCKER-USER';

/** Undefined where the tool is missing, or does not understand the table. */
export async function readIptables(tool: string, traffic: Traffic, bridge: string): Promise<[Filter] | undefined> {
  const output = await readToolOutput([tool, '-S']);
  if (output?.exitCode !== 0) return undefined;
  const chains = new Map<string, Rule[]>();
  let policy: Filter['policy'] = 'accept';
  for (const line of output.stdout.split('\n')) {
    const [command, chain = '', ...words] = line.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? [];
    if (command === '-P' && chain === BASE) policy = words[0] === 'DROP' ? 'drop' : 'accept';
    if (command === '-A') chains.set(chain, [...(chains.get(chain) ?? []), parseRule(words, traffic)]);
  }
  const filter = { table: `${tool} table filter`, base: BASE, policy, chains };
  return [{ ...filter, fix: fixFor(tool, filter, traffic, bridge) }];
}

function fixFor(tool: string, filter: Omit<Filter, 'fix'>, traffic: Traffic, bridge: string): string {
  const accept: Rule = { matches: 'yes', verdict: { kind: 'accept' }, text: '' };
  const helped = { ...filter, chains: new Map(filter.chains).set(OWNERS_CHAIN, [accept]) };
  const chain = findDrop(helped) === undefined ? OWNERS_CHAIN : BASE;
  const rules = traffic.bridged ? [`-i ${bridge} -o ${bridge}`] : [`-i ${bridge}`, `-o ${bridge}`];
  return rules.map((rule) => `${tool} -I ${chain} ${rule} -j ACCEPT`).join(' && ');
}

/** An option, with the words up to the next one: `! -s 10.0.0.0/8 -m set --match-set x src -j DROP`. */
function parseRule(words: readonly string[], traffic: Traffic): Rule {
  const matches: Truth[] = [];
  let verdict: Verdict = { kind: 'none' };
  let inverted = false;
  for (const [index, word] of words.entries()) {
    const value = words[index + 1] ?? '';
    if (word === '-j' || word === '-g') verdict = parseVerdict(word, value);
    else if (word.startsWith('-') && word !== '-m' && word !== '--comment' && verdict.kind === 'none') {
      const found = optionMatches(word, value, traffic);
      matches.push(inverted ? negate(found) : found);
    }
    inverted = word === '!';
  }
  return {
    matches: all(matches),
    verdict,
    text: words.slice(words.findLastIndex((word) => /^-[jg]$/.test(word))).join(' '),
  };
}

function optionMatches(option: string, value: string, { from, to, bridged, dnat }: Traffic): Truth {
  const [address = '', length = '32'] = value.split('/');
  switch (option) {
    case '-i':
      return linkMatches(value, '+', from);
    case '-o':
      return linkMatches(value, '+', to);
    case '-s':
      return addressMatches(address, Number(length), from);
    case '-d':
      return addressMatches(address, Number(length), to);
    case '--ctstate':
    case '--state':
      return truth(value.split(',').some((state) => state === 'NEW' || (dnat && state === 'DNAT')));
    case '--physdev-is-bridged':
      return truth(bridged);
    default:
      return 'maybe';
  }
}

function parseVerdict(word: string, target: string): Verdict {
  if (target === 'ACCEPT') return { kind: 'accept' };
  if (target === 'DROP' || target === 'REJECT') return { kind: 'drop' };
  if (target === 'RETURN') return { kind: 'return' };
  // A target that is no chain (LOG, MARK) falls through as an empty chain does.
  return { kind: word === '-g' ? 'goto' : 'jump', target };
}
