/* SPDX-License-Identifier: BSD-2-Clause */
/* What a participant becomes by execve: the process lives on, the participant does not. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
