/** minict net impair|snapshot|diff|rollback: what works on the network namespace of any container. */
import { defineImpair } from './impair.ts';
import { defineNetSnapshot } from './net-snapshot.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  defineImpair(command, globals);
  defineNetSnapshot(command, globals);
};
