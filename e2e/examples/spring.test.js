// The shop on Spring: its sessions end with the login, on three instances behind nginx.

import { lacks, settled } from "./examples.js";
import { threeInstances } from "./shops.js";

const command = ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-jar", settled("spring/target/shop-0.jar")];
threeInstances("the shop on Spring", lacks.java("spring/target/shop-0.jar") ?? lacks.nginx(), command);
