/** minict system doctor */

import { Chalk } from 'chalk';
import { examine } from '../doctor/examine.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { contextFrom, type GlobalOptions } from '../lifecycle/context.ts';
import { DEFAULT_NETWORK } from '../lifecycle/network.ts';
import { print, requireFormat, table } from './output.ts';

/** Prints the checks; exit status 1 where one failed, as a check's is. Not being root is one of them, and no error. */
export async function doctor(globals: GlobalOptions, format: string): Promise<void> {
  requireFormat(format);
  const { roots } = contextFrom(globals);
  const checks = await examine({ roots, network: DEFAULT_NETWORK });
  if (checks.some((check) => check.state === 'fail')) process.exitCode = 1;
  if (format === 'json') {
    print(`${JSON.stringify(checks)}\n`);
    return;
  }
  const chalk = new Chalk({ level: isTerminal(1) && !process.env.NO_COLOR ? 1 : 0 });
  const colours = { pass: chalk.green, warn: chalk.yellow, fail: chalk.red };
  // Coloured after the padding, which counts characters.
  const lines = table(checks.map(({ state, name, detail }) => [state, name, detail])).split('\n');
  for (const [index, { state, fix }] of checks.entries()) {
    print(`${lines[index]?.replace(state, colours[state](state))}\n`);
    if (fix !== undefined) print(`      fix: ${fix}\n`);
  }
}
