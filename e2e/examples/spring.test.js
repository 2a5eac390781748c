// The shop on Spring: its sessions end with the login, on three instances behind nginx.

import { lacks, settled } from "./examples.js";
import { threeInstances } from "./shops.js";

const quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-Dspring.main.lazy-initialization=true"];
const command = ["java", ...quick, "-jar", settled("spring/target/shop-0.jar")];
threeInstances("the shop on Spring", lacks.java("spring/target/shop-0.jar") ?? lacks.nginx(), command);
