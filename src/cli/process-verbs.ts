/** The verbs of running processes, as one chunk. */
export * as attach from './attach.ts';
export * as check from './check.ts';
export * as events from './events.ts';
export * as kill from './kill.ts';
export { pause, unpause } from './pause.ts';
export * as rename from './rename.ts';
export * as stats from './stats.ts';
export * as top from './top.ts';
export * as update from './update.ts';
