/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/lib_need.h"

#include <dcm/fabric.h>

#include "bench/lib_child.h"

void bench_need(Retcode wanted, Retcode seen, const char *what)
{
	if (seen != wanted)
		bench_fail("%s is %s, not %s: %s", what, RetcodeName(seen), RetcodeName(wanted),
			   DcmLastDetail());
}
