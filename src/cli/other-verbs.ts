/** The verbs that look, and those of images and of the host, as one chunk; what is heavy in them loads when it is used. */
export * as image from './image.ts';
export * as inspect from './inspect.ts';
export * as link from './link.ts';
export * as logs from './logs.ts';
export * as port from './port.ts';
export * as ps from './ps.ts';
export * as system from './system.ts';
export * as volume from './volume.ts';
export * as wait from './wait.ts';
export * as why from './why.ts';
