/** minict net impair|…: what works on the network namespace of any container. */
import { defineImpair } from './impair.ts';
import type { Define } from './program.ts';

export const define: Define = (command, globals) => {
  defineImpair(command, globals);
};
