/** minict why SOURCE TARGET [PROTO/PORT] */

import { Chalk } from 'chalk';
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import type { PathFacts, Question } from '../why/facts.ts';
import type { Verdict } from '../why/judge.ts';
import { print, requireFormat, table } from './output.ts';
import type { Define } from './verbs.ts';

interface Options {
  readonly format: string;
  readonly 4?: true;
  readonly 6?: true;
}

/** `tcp/80` or, in the order of `-p`, `80/tcp`; `icmp`. Throws InvalidInputError. */
function parseService(text: string): Pick<Question, 'protocol' | 'port'> {
  if (text === 'icmp' || text === 'ping') return { protocol: 'icmp', port: undefined };
  const turned = text.replace(/^(\d+)\/([a-z]+)$/, '$2/$1');
  const [, protocol, digits] = /^(tcp|udp)\/(\d{1,5})$/.exec(turned) ?? [];
  const port = Number(digits);
  if (protocol !== undefined && port >= 1 && port <= 65535) return { protocol: protocol as 'tcp' | 'udp', port };
  throw new InvalidInputError(`cannot use ${JSON.stringify(text)} as a service: PROTO/PORT, 1 to 65535`, {
    hint: `for example ${/^\d+$/.test(text) ? `tcp/${text} or udp/${text}` : 'tcp/80 or udp/53'}; without it a ping is tried`,
  });
}

function serviceWord({ protocol, port }: Question): string {
  return port === undefined ? protocol : `${protocol}/${port}`;
}

/** Names may be those that somebody gave inside a container. */
function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}

function printText({ question, from, to }: PathFacts, { findings }: Verdict): void {
  const chalk = new Chalk({ level: isTerminal(1) && !process.env.NO_COLOR ? 1 : 0 });
  print(`${question.source} → ${question.target} ${serviceWord(question)} (${from ?? 'no address'} → ${to})\n`);
  const shown = { ok: 'ok', fail: 'FAIL' } as const;
  const colours = { ok: chalk.green, fail: chalk.red };
  const rows = findings.map(({ state, where, check, found }) => [shown[state].padEnd(4), where, check, plain(found)]);
  const lines = table(rows).split('\n');
  for (const [index, { state, cause, fix, look }] of findings.entries()) {
    const word = shown[state];
    print(`${lines[index]?.replace(word, colours[state](word))}\n`);
    if (cause !== undefined) print(`      cause: ${cause}\n`);
    if (fix !== undefined) print(`      fix: ${plain(fix)}\n`);
    if (look !== undefined) print(`      look: ${plain(look)}\n`);
  }
}

function printJson({ question, from, to }: PathFacts, { findings, works }: Verdict): void {
  const failed = findings.find(({ state }) => state === 'fail');
  const { source, target, protocol, port } = question;
  const { cause, where, fix, look } = failed ?? {};
  const named = { cause, where, fix, look };
  const checks = findings.map(({ isUnsure: _, refuses: __, ...shown }) => shown);
  print(`${JSON.stringify({ source, target, protocol, port, from, to, works, ...named, checks })}\n`);
}

export const define: Define = (command, globals) => {
  command
    .argument('<source>', 'a container, or host')
    .argument('<target>', 'a container, host, or an address')
    .argument('[service]', 'tcp/PORT, udp/PORT, or icmp (default: icmp)')
    .option('-4', 'by IPv4')
    .option('-6', 'by IPv6')
    .option('--format <format>', 'table or json', 'table')
    .action(async (source: string, target: string, service: string = 'icmp', { format, ...families }: Options) => {
      requireRoot('why');
      requireFormat(format);
      const asked = parseService(service);
      if (families[4] && families[6])
        throw new InvalidInputError('cannot use -4 and -6 together', { hint: 'take one of them' });
      const { readPath } = await import('../lifecycle/why.ts');
      const { judge } = await import('../why/judge.ts');
      const family = families[4] ? 4 : families[6] ? 6 : undefined;
      const facts = await readPath(contextFrom(globals()), { source, target, ...asked }, family);
      const verdict = judge(facts);
      if (format === 'json') printJson(facts, verdict);
      else printText(facts, verdict);
      if (!verdict.works) process.exitCode = 1;
    });
};
