/** The verbs of limits, and of what is used of them. */
export * as stats from './stats.ts';
export * as top from './top.ts';
export * as update from './update.ts';
