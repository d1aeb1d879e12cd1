/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the payload and personality.so say to each other; see its run.c. */
#ifndef PAYLOAD_PERSONALITY_H
#define PAYLOAD_PERSONALITY_H

#define PERSONALITY_PORT    0x5d0

#define OP_WHO              1       /* result: OP_WHO_* */
#define OP_STATE            2       /* of the page at RBX; result: STATE_* */
#define OP_TOUCH            3       /* RCX pages at RBX, RSI: TOUCH_* */
#define OP_ACCEPT           4       /* RCX pages at RBX */

#define OP_WHO_MAGIC        0x70657200
#define OP_WHO_TDX          1
#define OP_WHO_IN_PLACE     2

#define STATE_PRIVATE       1
#define STATE_ADDED         2
#define STATE_ACCEPTED      4

#define TOUCH_PRIVATE       1       /* with (without) the C-bit */

/* Results of OP_TOUCH and OP_ACCEPT */
#define OP_OK               0
#define OP_NOT_ACCEPTED     1       /* #VC, #VE */
#define OP_ALREADY          2
#define OP_NO_MEMORY        3

#endif
