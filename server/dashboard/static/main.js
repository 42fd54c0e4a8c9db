// The dashboard where no key is asked for.

import { start } from "./app.js";

start();
