import { messageOf, type Problems } from '../../../core/index.js';

/** Where an MLflow server is, and where in it a run belongs: what MLflow's own client reads from the environment. */
export interface MlflowSettings {
  /** MLFLOW_TRACKING_URI: the address of an `mlflow server`. */
  readonly trackingUri?: string | undefined;
  /** MLFLOW_EXPERIMENT_NAME; Default by default. It is made where there is none. */
  readonly experimentName?: string | undefined;
  /** MLFLOW_EXPERIMENT_ID: in place of the name. */
  readonly experimentId?: string | undefined;
  /** MLFLOW_RUN_ID: a run to go on in, whatever experiment it is of. */
  readonly runId?: string | undefined;
  /** MLFLOW_RUN_NAME: what a new run is called. */
  readonly runName?: string | undefined;
  /** MLFLOW_TRACKING_TOKEN. */
  readonly token?: string | undefined;
  /** MLFLOW_TRACKING_USERNAME; used where there is no token. */
  readonly username?: string | undefined;
  /** MLFLOW_TRACKING_PASSWORD. */
  readonly password?: string | undefined;
}

/** The settings that the environment says. */
export const mlflowSettings = (env: Readonly<Record<string, string | undefined>> = process.env): MlflowSettings => {
  const said = (name: string) => env[`MLFLOW_${name}`] || undefined;
  return {
    trackingUri: said('TRACKING_URI'),
    experimentName: said('EXPERIMENT_NAME'),
    experimentId: said('EXPERIMENT_ID'),
    runId: said('RUN_ID'),
    runName: said('RUN_NAME'),
    token: said('TRACKING_TOKEN'),
    username: said('TRACKING_USERNAME'),
    password: said('TRACKING_PASSWORD'),
  };
};

const FIX = 'Start `mlflow server`, and set MLFLOW_TRACKING_URI to its address, as http://127.0.0.1:5000.';

/** Says what is wrong with the server's address: MLflow's own client also writes to folders and databases, which nothing else can. */
export function checkAddress({ trackingUri }: MlflowSettings, problems: Problems): void {
  if (trackingUri === undefined) {
    problems.add('OPTION_MISSING', 'mlflow', 'no server is named', FIX);
    return;
  }
  try {
    const { protocol } = new URL(trackingUri);
    if (protocol !== 'http:' && protocol !== 'https:')
      problems.add('OPTION_INVALID', 'mlflow', `the server's address begins with ${protocol}`, FIX);
  } catch (error) {
    problems.add('OPTION_INVALID', 'mlflow', `the server's address is none: ${messageOf(error)}`, FIX);
  }
}
