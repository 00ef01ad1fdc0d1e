/** What leads to a program in a container, whatever its runtime and its namespaces are. */
import { toolPath } from '../host/tool.ts';
import type { Place } from '../spec/place.ts';
import {
  enterChroot,
  insideWords,
  limitWords,
  namespaceWords,
  type Program,
  programEnv,
  type Run,
  setInside,
  type Terminal,
  wholeEnv,
} from './enter.ts';
import { guestWords } from './guest.ts';
import { enterOci } from './oci.ts';
import { waiting } from './waiter.ts';

/** With the environment that it is given. */
export function runIn(place: Place, program: Program, terminal?: Terminal): Run {
  const { argv, env = {}, user, workdir } = program;
  const { pidns, guest, oci, ulimits } = place;
  const options = { home: user?.home, term: terminal?.term };
  if (oci !== undefined) {
    const words = {
      argv,
      env: wholeEnv(env, options),
      user,
      workdir,
      terminal: terminal !== undefined,
      entry: program.entry,
    };
    return enterOci(place, oci, words);
  }
  if (pidns === undefined) return enterChroot(place, program, terminal);
  const enter = [toolPath('nsenter'), ...(guest === undefined ? namespaceWords(place) : [])];
  const inside =
    guest === undefined
      ? insideWords(place, program)
      : [...limitWords(ulimits), ...guestWords(place, guest, { user, workdir }), ...setInside(env), ...argv];
  const waits = program.init === undefined ? waiting(inside) : [program.init, '--', ...inside];
  return { argv: [...enter, `--pid=${pidns}`, '--no-fork', ...waits], env: programEnv(env, options) };
}
