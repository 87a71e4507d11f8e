#include <dcm/dcm.h>
#include <ctype.h>
#include <stdio.h>

int main(void)
{
	Handle listener, callable;
	DcmHandle publication, request;
	DcmRequest call;
	DcmMessage reply;

	if (DcmInit() != rcOk || KnHandleCreateListener(&listener) != rcOk ||
	    KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER,
				       NULL, listener, 1, &callable) != rcOk ||
	    DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), "demo.Shout", "shout",
			       &publication) != rcOk)
		return fprintf(stderr, "server: %s\n", DcmLastDetail()), 1;
	if (DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request) == rcOk)
		DcmAccept(request, callable, INVALID_HANDLE);
	while (DcmReceive(listener, 1000000000, &call) == rcOk) { /* until idle for a second */
		if (DcmLoanReply(&call, call.message.size, &reply) != rcOk)
			break;
		for (size_t i = 0; i < reply.size; i++)
			((char *)reply.data)[i] = (char)toupper(((unsigned char *)call.message.data)[i]);
		DcmReply(&call, &reply);
	}
	DcmFini();
	return 0;
}
